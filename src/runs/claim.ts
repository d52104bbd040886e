import { readFile, rm, writeFile } from 'node:fs/promises';
import { UsageError } from '../errors.js';

/**
 * Takes a place for this process by writing its number into `file`; the number of a process that has ended is passed over.
 *
 * @param where, what of the message: `<where> <number> <what>`
 * @returns gives the place back
 * @throws UsageError while another process has it
 */
export async function claim(file: string, where: string, what: string): Promise<() => Promise<void>> {
  const pid = Number(await readFile(file, 'utf8').catch(() => ''));
  if (pid > 0 && pid !== process.pid && isRunning(pid)) {
    throw new UsageError(
      `${where} ${pid} ${what}; wait for it, or delete ${file} if that process is something else`,
    );
  }
  await writeFile(file, String(process.pid));
  return () => rm(file, { force: true });
}

/** Whether a process of this number is there. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
