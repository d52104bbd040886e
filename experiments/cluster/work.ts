/** What measure.ts times, in one process or shared by several, and what the plan says of it. */
import { performance } from 'node:perf_hooks';
import { type BenchModels, benchModels, type Shape } from '../../src/bench/models.js';
import { type BenchSizes, roundBench, workloads } from '../../src/bench/workloads.js';
import type { Cluster } from '../../src/cluster/cluster.js';
import { barrier, broadcast, gather } from '../../src/cluster/collectives.js';
import { Shards } from '../../src/cluster/shards.js';
import { newModelConfig } from '../../src/models/families.js';
import { modelSize } from '../../src/plan/flops.js';
import type { PlannedModel } from '../../src/plan/inputs.js';
import { type Network, usualNetwork } from '../../src/plan/network.js';
import { lengths } from '../../src/plan/passes.js';
import { calibrateAll } from '../../src/plan/plan.js';
import { type RanksTime, timesOf } from '../../src/plan/ranks.js';
import { scheduleOf } from '../../src/plan/schedule.js';
import { workOf } from '../../src/plan/work.js';
import type { BackendInfo } from '../../src/tensor/backend.js';
import { trainConfigSchema } from '../../src/training/config.js';

interface Piece {
  shape: Shape;
  teacherShape?: Omit<Shape, 'vocabSize'>;
  sizes: BenchSizes;
  /** Optimizer steps. */
  steps: number;
}

const sizes = { promptLen: 32, maxResponse: 64, minibatch: 16, inner: 4, ptLen: 96, alpha: 0.2 };
const middle = { layers: 4, hiddenSize: 256, heads: 4, vocabSize: 4096 };
const tiny = { layers: 4, hiddenSize: 128, heads: 4, vocabSize: 1024 };

/** The round and the training steps of docs/performance.md; the tiny ones are the smallest shape there. */
export const pieces = {
  round: {
    shape: middle,
    teacherShape: { layers: 6, hiddenSize: 384, heads: 6 },
    sizes: { ...sizes, batch: 64, seq: 96 },
    steps: 16,
  },
  sft: { shape: middle, sizes: { ...sizes, batch: 16, seq: 128 }, steps: 6 },
  'tiny round': {
    shape: tiny,
    teacherShape: { layers: 4, hiddenSize: 192, heads: 4 },
    sizes: { ...sizes, batch: 64, seq: 96 },
    steps: 16,
  },
  'tiny sft': { shape: tiny, sizes: { ...sizes, batch: 8, seq: 64 }, steps: 20 },
} satisfies Record<string, Piece>;
export type PieceName = keyof typeof pieces;

/** A cluster that counts the seconds in which this rank waits for messages. */
export class Watched implements Cluster {
  waited = 0;
  readonly rank: number;
  readonly size: number;
  readonly memory?: NonNullable<Cluster['memory']>;
  constructor(private readonly cluster: Cluster) {
    ({ rank: this.rank, size: this.size } = cluster);
    if (cluster.memory) this.memory = cluster.memory;
  }
  readonly exchange: Cluster['exchange'] = (partner, out, into) => {
    const under = this.clocked(() => this.cluster.exchange(partner, out, into));
    return { wait: () => this.clocked(() => under.wait()) };
  };
  readonly gather = (own: Uint8Array): Uint8Array[] => (this.size === 1 ? [own] : gather(this, own));
  readonly broadcast = (own: Uint8Array): Uint8Array => broadcast(this, own);
  readonly barrier = (): void => barrier(this);
  readonly abort = (code: number): never => this.cluster.abort(code);

  private clocked<T>(work: () => T): T {
    const from = performance.now();
    const result = work();
    this.waited += (performance.now() - from) / 1000;
    return result;
  }
}

/** What is timed: what begins a round, if there are rounds, and all optimizer steps of a piece, one after the other. */
export async function prepare(
  name: PieceName,
  shards: number,
  cluster: Cluster,
): Promise<(() => Promise<unknown>)[]> {
  const piece: Piece = pieces[name];
  const models: BenchModels = {
    ...(await benchModels({ ...piece, positions: 128 })),
    shards: new Shards(shards, cluster),
  };
  if (piece.teacherShape) {
    const run = roundBench(models, piece.sizes);
    const step = async () => run.step();
    return [async () => run.collect(), ...Array.from({ length: piece.steps }, () => step)];
  }
  const run = workloads.sft(models, piece.sizes);
  return Array.from({ length: piece.steps }, () => async () => run.run());
}

/** What the plan says of the piece on 1, 2, 4, … ranks, with speeds measured here and now. */
export function planned(
  name: PieceName,
  shards: number,
  backend: BackendInfo,
  network: Network,
): RanksTime[] {
  const { shape, teacherShape, sizes: s, steps }: Piece = pieces[name];
  const config = trainConfigSchema.parse({
    ...{ method: teacherShape ? 'minillm' : 'sft', student: 'student', data: {} },
    train: {
      ...{ lr: 1e-5, steps, shards, schedule: 'constant' },
      batch_size: teacherShape ? s.minibatch : s.batch,
      micro_batch_size: teacherShape ? s.minibatch : s.batch,
    },
    objective: { alpha: s.alpha },
    rollout: { rollouts: s.batch, inner_epochs: s.inner, max_new_tokens: s.maxResponse, batch_size: s.batch },
    pretrain: { length: s.ptLen },
  });
  const rows = Array.from({ length: s.batch }, () =>
    teacherShape ? lengths(s.promptLen, s.maxResponse) : lengths(1, s.seq),
  );
  const models = [shape, ...(teacherShape ? [{ ...teacherShape, vocabSize: shape.vocabSize }] : [])].map(
    (one, i): PlannedModel => {
      const made = newModelConfig('gpt2', { ...one, maxPositions: 1024 });
      return {
        role: i === 0 ? 'student' : 'teacher',
        ...{ source: 'new', weights: 'new', config: made, size: modelSize(made) },
      };
    },
  );
  const work = workOf(config, {
    ...{ train: rows, trainRows: rows.length, valid: [], vocabulary: shape.vocabSize, responses: 'longest' },
    ...{ teachers: models.length - 1, hasText: teacherShape !== undefined },
  });
  const speeds = calibrateAll(config, work, models, backend, { memory: 4e9, exchanged: true });
  const schedule = { ...scheduleOf(config, rows.length), validations: 0 };
  return timesOf({ config, work, schedule, models, network, speeds: speeds.map((one) => one!) });
}

/** Between rank 0 and its neighbour, as MPI carries messages here. */
export function networkHere(cluster: Cluster): Network {
  if (cluster.size === 1) return usualNetwork;
  const partner = cluster.rank ^ 1;
  const seconds = (bytes: number, times: number): number => {
    const [out, into] = [new Uint8Array(bytes), new Uint8Array(bytes)];
    const each = Array.from({ length: times }, () => {
      const from = performance.now();
      cluster.exchange(partner, out, into).wait();
      return (performance.now() - from) / 1000;
    });
    return each.sort((a, b) => a - b)[Math.floor(times / 2)]!;
  };
  const latency = seconds(8, 200);
  const long = 4 * 2 ** 20;
  return { latency, bandwidth: long / Math.max(1e-9, seconds(long, 20) - latency) };
}
