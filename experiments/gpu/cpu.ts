import type { Row } from './rows.js';
export const cpuMaterial = (): string | undefined => undefined;
export async function cpuCheck(_: {
  material: string;
  python: string;
  seconds: number;
  onRow(row: Row): void;
}): Promise<void> {}
