import { readFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { trainConfigSchema } from '../training/config.js';
import { choseUntrained, selectionOf, UNTRAINED } from '../training/selection.js';
import { readMetrics } from './metricsLog.js';
import { runPaths } from './runDirectory.js';
import { parseUntrustedYaml } from './yaml.js';

/**
 * Whether a model directory is the `best/` of a run in which nothing that was trained was better than the student it began with.
 *
 * @returns a line that says so; undefined for every other directory
 */
export async function untrainedBest(model: string): Promise<string | undefined> {
  const directory = resolve(model);
  if (basename(directory) !== 'best') return undefined;
  const paths = runPaths(dirname(directory));
  try {
    const config = trainConfigSchema.parse(parseUntrustedYaml(await readFile(paths.config, 'utf8')));
    const rows = readMetrics(paths.metrics).map((row) => ({
      ...{ step: row.step, phase: row.phase },
      value: (name: string) => (typeof row[name] === 'number' ? row[name] : undefined),
    }));
    return choseUntrained(selectionOf(config), rows) ? `${model}: ${UNTRAINED}` : undefined;
  } catch {
    return undefined; // no run, or not one of ours
  }
}
