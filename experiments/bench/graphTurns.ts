/** A training step and a scoring pass as one compiled graph, beside what `minillm bench` times. */
import * as tf from '@tensorflow/tfjs-core';
import { type BenchSource, benchModels } from '../../src/bench/models.js';
import { randomRows } from '../../src/bench/training.js';
import { type BenchSizes, workloads } from '../../src/bench/workloads.js';
import { windowOf } from '../../src/models/config.js';
import { familyOf } from '../../src/models/families.js';
import { headLogits, type Model, slotPositions } from '../../src/models/model.js';
import { adamw } from '../../src/optim/adamw.js';
import { disposeState } from '../../src/optim/state.js';
import { withoutKernels } from '../../src/tensor/backend.js';
import { causalAttention, tokenLogprob } from '../../src/tensor/ops/index.js';
import { disposeParams, type Params, valueAndGrads } from '../../src/tensor/params.js';
import { type CompiledGraph, compileGraph } from './compiledGraph.js';
import { clocked, type Row, rowOf, takeTurns } from './turns.js';

export interface GraphCase {
  name: string;
  source: Omit<BenchSource, 'positions'>;
  batch: number;
  length: number;
  turns: number;
}

/** What a graph is made of. */
const makes = {
  "TensorFlow's operations": <T>(f: () => T): T => withoutKernels(f),
  'our kernels': <T>(f: () => T): T => f(),
};

/** Rows of one shape: scoring and the whole training step, each as a graph of TensorFlow's operations and of our kernels. */
export async function graphRows({ name, source, batch, length, turns }: GraphCase): Promise<Row[]> {
  const where = { ...source, positions: length + 1 };
  const sizes = { batch, seq: length } as BenchSizes; // all that score and sft read of it
  const [scored, trained, { student }] = [
    await benchModels(where),
    await benchModels(where),
    await benchModels(where),
  ];
  const tokens = randomRows(student.config.vocabSize, 2, batch * length, 'graph').map((row) =>
    tf.tensor1d(row, 'int32'),
  );
  const names = Object.keys(student.params);
  const optimizer = adamw({ learningRate: 1e-5, clip: 1 });
  let { params } = student;
  let state = optimizer.init(params);
  const inputs = (): tf.Tensor[] => [...names.map((n) => params[n]!), ...tokens];
  const functions = {
    scoring: (given: tf.Tensor[]) => [logprobs(student, names, given, batch, length)],
    'training step': (given: tf.Tensor[]) => {
      const rest = given.slice(names.length);
      const loss = (p: Params): tf.Scalar =>
        tf.neg(
          tf.mean(logprobs(student, names, [...names.map((n) => p[n]!), ...rest], batch, length)),
        ) as tf.Scalar;
      const { value, grads } = valueAndGrads(loss, paramsOf(names, given));
      return [value, ...names.map((n) => grads[n]!)];
    },
  };
  const finish = {
    scoring: ([values]: tf.Tensor[]) => values!.dataSync(),
    'training step': ([loss, ...grads]: tf.Tensor[]) => {
      loss!.dataSync();
      ({ params, state } = optimizer.step(paramsOf(names, grads), state, params));
    },
  };
  const ours = { scoring: workloads.score(scored, sizes), 'training step': workloads.sft(trained, sizes) };
  const rows: Row[] = [];
  for (const what of ['scoring', 'training step'] as const) {
    for (const [of, making] of Object.entries(makes)) {
      let graph!: CompiledGraph;
      const compiling = await clocked(() => {
        graph = making(() => compileGraph(functions[what], inputs()));
      });
      const difference = worstDifference(
        tf.tidy(() => functions[what](inputs())),
        graph.run(inputs()),
      );
      const taken = await takeTurns(
        {
          ours: () => clocked(() => ours[what].run()),
          graph: () =>
            clocked(() => {
              const results = graph.run(inputs());
              finish[what](results);
              tf.dispose(results);
            }),
        },
        turns,
      );
      graph.dispose();
      rows.push(
        rowOf(`graph of ${of}`, `${what}, ${name}, B${batch} T${length}`, taken.ours, taken.graph, {
          compile_s: compiling.seconds,
          worst_relative_difference: difference,
        }),
      );
    }
  }
  for (const work of Object.values(ours)) work.dispose();
  disposeParams(scored.student.params);
  disposeParams(params);
  disposeState(state);
  tf.dispose(tokens);
  return rows;
}

/** ln p of every next token: `inputs` are the parameters, the ids read and the ids predicted, the latter two [B·T]. */
function logprobs(
  { config }: Model,
  names: string[],
  inputs: tf.Tensor[],
  batch: number,
  length: number,
): tf.Tensor1D {
  const { heads, kvHeads, headDim } = config;
  const dims = { batch, length, heads, kvHeads, headDim };
  const params = paramsOf(names, inputs);
  const [ids, targets] = inputs.slice(names.length) as [tf.Tensor1D, tf.Tensor1D];
  const positions = slotPositions(batch, length);
  const hidden = familyOf(config).hidden(params, config, ids, positions, (layer, q, k, v) =>
    causalAttention(q, k, v, { ...dims, window: windowOf(config, layer) }),
  );
  return tokenLogprob(headLogits(params, config, hidden), targets);
}

function paramsOf(names: string[], tensors: tf.Tensor[]): Params {
  return Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));
}

/** The largest difference of any two numbers, over the largest number of its tensor. @throws Error when it is no rounding */
function worstDifference(expected: tf.Tensor[], found: tf.Tensor[]): number {
  const worst = expected.map((tensor, i) => {
    const [a, b] = [tensor.dataSync<'float32'>(), found[i]!.dataSync<'float32'>()];
    const largest = a.reduce((max, x) => Math.max(max, Math.abs(x)), 1e-9);
    return a.reduce((max, x, n) => Math.max(max, Math.abs(x - b[n]!)), 0) / largest;
  });
  tf.dispose([expected, found]);
  const difference = Math.max(...worst);
  if (!(difference < 1e-2)) throw new Error(`the graph computes something else (${difference})`);
  return difference;
}
