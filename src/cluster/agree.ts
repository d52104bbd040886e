import { hostname } from 'node:os';
import { UsageError } from '../errors.js';
import type { Cluster } from './cluster.js';
import { gatherValues } from './values.js';

type Facts = Record<string, unknown>;

/**
 * Looks whether all ranks are about to do the same.
 *
 * @param same what must be equal, by what people call it @param noted what may differ and is told
 * @throws UsageError on every rank, naming the first that differs from rank 0, and in what
 */
export function agree(
  cluster: Cluster,
  { same, noted = {} }: { same: Facts; noted?: Facts },
  log: (line: string) => void,
): void {
  const ranks = gatherValues(cluster, { host: hostname(), same, noted });
  const first = ranks[0]!;
  for (const [rank, { host, ...there }] of ranks.entries()) {
    const what = differing(first.same, there.same);
    if (what !== undefined)
      throw new UsageError(
        `rank ${rank} (${host}): ${what} is ${shown(there.same[what])}, and on rank 0 (${first.host}) ${shown(first.same[what])}; all ranks need the same`,
      );
    const other = differing(first.noted, there.noted);
    if (other !== undefined)
      log(
        `note: ${other} of rank ${rank} (${host}) is ${shown(there.noted[other])}, of rank 0 ${shown(first.noted[other])}: other ranks may give other last bits`,
      );
  }
}

function differing(a: Facts, b: Facts): string | undefined {
  return Object.keys({ ...a, ...b }).find((key) => a[key] !== b[key]);
}

/** A digest by its beginning. */
function shown(value: unknown): string {
  if (value === undefined) return 'not there';
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value) ? `${value.slice(0, 12)}…` : String(value);
}
