import { writeSync } from 'node:fs';
import type { Cluster } from './cluster.js';

/**
 * Ends all processes for an error of this one. All may be dying of the same thing, which rank 0 says once: the others wait a
 * little, each longer than the one before, and are ended before they speak.
 *
 * @param line without the program's name @param code of the whole job
 */
export function endOfRank(cluster: Pick<Cluster, 'rank' | 'abort'>, line: string, code: number): never {
  giveWay(cluster.rank);
  say(cluster.rank === 0 ? `minillm: ${line}` : `minillm: rank ${cluster.rank}: ${line}`);
  return cluster.abort(code);
}

/** Rank 0 goes first. Open MPI asks the others to end a second after that, and ends them a second later. */
export function giveWay(rank: number): void {
  if (rank > 0) sleep(Math.min(2400 + 200 * rank, 6000));
}

/** At once: what a stream of Node's has taken may never leave a process that is aborted. */
function say(line: string): void {
  const text = Buffer.from(`${line.replace(/\s*\p{Cc}+\s*/gu, ' ')}\n`);
  for (let at = 0, tries = 0; at < text.length && tries < 100; ) {
    try {
      at += writeSync(2, text, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      tries++;
      sleep(10);
    }
  }
}

function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
