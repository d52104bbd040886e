import { existsSync } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { UsageError } from '../errors.js';
import { readMetrics } from './metricsLog.js';
import { runPaths } from './runDirectory.js';

/** What a finished run keeps: everything, or all but what only a resume needs. */
export type Keep = 'all' | 'final';

/**
 * The end of a run: with `final`, removes its checkpoints and scratch files.
 *
 * @returns a line that says how much there is and what of it may go, or what went and what that means
 */
export async function tidyUp(out: string, keep: Keep): Promise<string> {
  const paths = runPaths(out);
  const whole = await bytesBelow(out);
  const forResume = (await bytesBelow(paths.checkpoints)) + (await bytesBelow(paths.scratch));
  if (keep !== 'final')
    return `${out}: ${megabytes(whole)}, of which ${megabytes(forResume)} in checkpoints/ serve --resume only and may go (--keep final removes them)`;
  for (const directory of [paths.checkpoints, paths.scratch]) await remove(directory);
  return `${out}: ${megabytes(whole - forResume)} kept (final/, best/, logs, samples); checkpoints removed (${megabytes(forResume)}), so --resume cannot go on from here`;
}

/**
 * Without this, a resume would find no checkpoint and begin again, over the logs of the finished run.
 *
 * @throws UsageError for a run that ended and whose checkpoints are gone
 */
export function refuseFinished(out: string): void {
  const paths = runPaths(out);
  const trained =
    existsSync(paths.final) && readMetrics(paths.metrics).some(({ phase }) => phase === 'train');
  if (trained)
    throw new UsageError(
      `${out}: the run has ended and its checkpoints were removed, so there is nothing to resume; its student is in final/; give --out a new directory`,
    );
}

/** Aside first, under a name that is swept up after a kill: half a checkpoint is none. */
async function remove(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  const aside = join(dirname(directory), `.tmp-${process.pid}-${basename(directory)}`);
  await rename(directory, aside);
  await rm(aside, { recursive: true, force: true });
}

async function bytesBelow(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true }).catch(() => []);
  const found = await Promise.all(names.map((name) => stat(join(directory, name)).catch(() => undefined)));
  const sizes = found.map((file) => (file?.isFile() ? file.size : 0));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function megabytes(bytes: number): string {
  const mb = bytes / 2 ** 20;
  return `${mb < 10 ? mb.toFixed(1) : Math.round(mb)} MB`;
}
