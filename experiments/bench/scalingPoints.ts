/** Times of the work along five axes around one base. */
import { median } from '../../src/bench/measure.js';
import { benchModels, type Shape } from '../../src/bench/models.js';
import { type BenchSizes, workloads } from '../../src/bench/workloads.js';
import { disposeParams } from '../../src/tensor/params.js';
import { type PowerFit, powerFit, type ScaledWork, workFlops } from './growth.js';

export const axisNames = ['batch', 'length', 'vocabulary', 'layers', 'width'] as const;
export type AxisName = (typeof axisNames)[number];
export const scaledWorks = ['score', 'sft', 'generate'] as const satisfies readonly ScaledWork[];

/** One place of the grid. `length`: tokens read in score and sft, tokens of a response in generate. */
export type Setting = Record<AxisName, number>;

export interface Grid {
  base: Setting;
  axes: Record<AxisName, readonly number[]>;
  /** Prompts of generate. */
  promptLen: number;
  headSize: number;
}

export interface ScalingPoint {
  work: ScaledWork;
  axis: AxisName;
  value: number;
  seconds: number;
  min_s: number;
  max_s: number;
  tokens_per_s: number;
  /** 10^9 operations a second, those of `workFlops`. */
  gflops: number;
}

/**
 * Medians of `repeat` runs after one unseen. All points of an axis take turns, run by run: a machine that is slower for a while
 * is slower for all of them, and the exponent stays.
 */
export async function measureAxis(
  work: ScaledWork,
  axis: AxisName,
  grid: Grid,
  repeat: number,
): Promise<ScalingPoint[]> {
  const lanes = await Promise.all(
    grid.axes[axis].map((value) => lane(work, { ...grid.base, [axis]: value }, grid)),
  );
  const samples: { seconds: number; tokens: number }[][] = lanes.map(() => []);
  try {
    for (let i = 0; i <= repeat; i++) {
      for (const [j, { run }] of lanes.entries()) {
        const { parts, tokens } = await run.run();
        if (i > 0) samples[j]!.push({ seconds: Object.values(parts).reduce((a, b) => a + b, 0), tokens });
      }
    }
  } finally {
    for (const { dispose } of lanes) dispose();
  }
  return lanes.map(({ flops }, j): ScalingPoint => {
    const times = samples[j]!.map((s) => s.seconds);
    const seconds = median(times);
    return {
      ...{ work, axis, value: grid.axes[axis][j]!, seconds },
      ...{ min_s: Math.min(...times), max_s: Math.max(...times) },
      tokens_per_s: samples[j]![0]!.tokens / seconds,
      gflops: flops / seconds / 1e9,
    };
  });
}

async function lane(work: ScaledWork, setting: Setting, { promptLen, headSize }: Grid) {
  const { batch, length, layers, width, vocabulary } = setting;
  const shape: Shape = { layers, hiddenSize: width, heads: width / headSize, vocabSize: vocabulary };
  const models = await benchModels({ shape, positions: 1 + promptLen + length });
  const given: BenchSizes = {
    ...{ batch, promptLen, maxResponse: length, seq: length },
    ...{ minibatch: batch, inner: 1, ptLen: length, alpha: 0 },
  };
  const run = workloads[work](models, given);
  const dispose = (): void => {
    run.dispose(); // sft frees the parameters, which its steps have replaced
    if (work !== 'sft') disposeParams(models.student.params);
  };
  return { run, flops: workFlops[work](shape, { batch, promptLen, length }), dispose };
}

/** The power law along one axis of one work. */
export function fitOf(points: readonly ScalingPoint[]): PowerFit {
  return powerFit(points.map(({ value, seconds }) => ({ x: value, seconds })));
}
