export async function kernelChecks(_: string[]): Promise<void> {}
