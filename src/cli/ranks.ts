import type { Command } from 'commander';
import { agree } from '../cluster/agree.js';
import { alone, type Cluster } from '../cluster/cluster.js';
import { Shards } from '../cluster/shards.js';
import { UsageError } from '../errors.js';
import { launchOf } from '../launch.js';
import { positiveInteger } from './common.js';

/** Of a command that several processes can do together. */
export interface RankOptions {
  rankTimeout: number;
}

export interface ShardOptions extends RankOptions {
  shards: number;
}

export function withRankOptions(command: Command): Command {
  return command.option(
    '--rank-timeout <s>',
    'under mpirun or srun: seconds after which a process that does not answer is given up',
    positiveInteger,
    600,
  );
}

/** The same for commands without a configuration, whose `train.shards` it is. */
export function withShardOptions(command: Command): Command {
  return withRankOptions(command).option(
    '--shards <s>',
    'parts of the rows that are computed by themselves; up to as many processes share them, to the same bytes',
    powerOfTwo,
    1,
  );
}

function powerOfTwo(text: string): number {
  const n = positiveInteger(text);
  if (!Number.isInteger(Math.log2(n))) throw new UsageError(`--shards ${n}: expected a power of two`);
  return n;
}

/** Commands about a machine: `srun -N 4 minillm setup --mpi` does it on four. */
const everywhere = ['setup', 'doctor'];

let joined: Cluster = alone;

/** The processes that do this command together, seen from this one. */
export const ranks = (): Cluster => joined;

/**
 * Takes part where mpirun, mpiexec or srun started this process as one of several. Rank 0 speaks for all; what ends another rank
 * is said by `endOfRank`.
 *
 * @throws UsageError for a command that is the work of one process
 */
export async function joinRanks(command: Command): Promise<void> {
  if (everywhere.includes(command.name())) return;
  const launch = launchOf(process.env);
  if (!launch) return;
  const rankTimeout: unknown = command.getOptionValue('rankTimeout');
  if (typeof rankTimeout !== 'number')
    throw new UsageError(
      `${command.name()} is the work of one process, and ${launch.by} started ${launch.size}; start it without`,
    );
  const { joinCluster } = await import('../cluster/launched.js');
  joined = await joinCluster({ rankTimeout });
  if (joined.rank > 0) for (const stream of [process.stdout, process.stderr]) mute(stream);
}

function mute(stream: NodeJS.WriteStream): void {
  stream.write = (_chunk: unknown, ...rest: unknown[]): boolean => {
    for (const done of rest) if (typeof done === 'function') done();
    return true;
  };
}

/**
 * The shards of a command, after a look whether all ranks have the same files.
 *
 * @param files model directories and data, by the options that name them
 */
export async function shardsOf(
  { shards }: ShardOptions,
  engine: string,
  files: Record<string, string | undefined>,
  log: (line: string) => void,
): Promise<Shards> {
  const own = new Shards(shards, joined, '--shards');
  if (joined.size === 1) return own;
  const { digest } = await import('../runs/inputDigests.js');
  const same: Record<string, unknown> = { engine };
  for (const [option, path] of Object.entries(files))
    if (path !== undefined) same[`the contents of ${option} ${path}`] = await digest(path);
  agree(joined, { same }, log);
  return own;
}
