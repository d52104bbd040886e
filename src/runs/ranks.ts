import * as tf from '@tensorflow/tfjs-core';
import { agree } from '../cluster/agree.js';
import type { Cluster } from '../cluster/cluster.js';
import { broadcastValue } from '../cluster/values.js';
import type { TrainConfig } from '../training/config.js';
import type { TrainingState } from '../training/state.js';
import { type Digests, digestsOf } from './inputDigests.js';
import { stringifyConfig } from './runConfig.js';

/**
 * Looks whether all ranks are about to train the same: version, engine, configuration, data and weights.
 *
 * @param environment of this rank (`describeEnvironment`)
 * @returns the digests of what this rank reads, where there is another rank to compare them with
 * @throws UsageError on every rank, naming the first that differs, and in what
 */
export async function agreeOnRun(
  cluster: Cluster,
  config: TrainConfig,
  environment: Record<string, unknown>,
  log: (line: string) => void,
): Promise<Digests | undefined> {
  if (cluster.size === 1) return undefined;
  const digests = await digestsOf(config);
  const contents = Object.entries(digests).map(([field, digest]) => [`the contents of ${field}`, digest]);
  const { engine, cpu, threads } = environment;
  const same = {
    'the program': environment.package,
    engine,
    ...fieldsOf(stringifyConfig(config)),
    ...Object.fromEntries(contents),
  };
  agree(cluster, { same, noted: { cpu, threads } }, log);
  return digests;
}

/** A configuration line by line, each under its section. */
function fieldsOf(yaml: string): Record<string, string> {
  const fields: Record<string, string> = {};
  let section = '';
  for (const line of yaml.split('\n')) {
    const [, indent, key, value] = /^(\s*)([^:]+):\s*(.*)$/.exec(line) ?? [];
    if (key === undefined) continue;
    if (indent === '') section = key;
    fields[indent === '' ? key : `${section}.${key}`] = value!;
  }
  return fields;
}

/** Where a run goes on, as rank 0 has read it: the run directory need not be seen elsewhere. */
export interface Beginning {
  state: TrainingState;
  resumeAt: number | undefined;
}

/**
 * Hands out the state that rank 0 resumes from. A new run begins everywhere with the student that the ranks have loaded.
 *
 * @param here of rank 0 @param fresh of the other ranks; its tensors are consumed where rank 0 resumes
 */
export function shareState(
  cluster: Cluster,
  here: Beginning | undefined,
  fresh: () => TrainingState,
): Beginning {
  if (cluster.size === 1) return here!;
  const resumes = here?.resumeAt !== undefined && here.resumeAt > 0;
  if (!broadcastValue(cluster, resumes)) return here ?? { state: fresh(), resumeAt: undefined };
  const tensors: tf.Tensor[] = [];
  const { rest, shapes } = broadcastValue(cluster, {
    rest: withoutTensors(here?.state, tensors),
    shapes: tensors.map(({ shape }) => shape),
  });
  const given = shapes.map((shape, i) => shared(cluster, tensors[i], shape));
  return here ?? { state: withTensors(rest, given) as TrainingState, resumeAt: undefined };
}

/** One tensor at a time: all of them may be more than a message holds. @param own of rank 0 */
function shared(cluster: Cluster, own: tf.Tensor | undefined, shape: number[]): tf.Tensor {
  const values = own?.dataSync<'float32'>();
  const bytes = cluster.broadcast(
    values ? new Uint8Array(values.buffer, values.byteOffset, values.byteLength) : new Uint8Array(),
  );
  return own ?? tf.tensor(new Float32Array(bytes.slice().buffer), shape);
}

/** A tensor leaves its number in its place. */
type Held = { tensor: number };

function withoutTensors(node: unknown, tensors: tf.Tensor[]): unknown {
  if (node instanceof tf.Tensor) return { tensor: tensors.push(node) - 1 } satisfies Held;
  return isTree(node) ? mapTree(node, (part) => withoutTensors(part, tensors)) : node;
}

function withTensors(node: unknown, given: readonly tf.Tensor[]): unknown {
  if (!isTree(node)) return node;
  const { tensor } = node as Partial<Held>;
  return typeof tensor === 'number' ? given[tensor]! : mapTree(node, (part) => withTensors(part, given));
}

type Tree = Record<string, unknown>;

function mapTree(tree: Tree, f: (part: unknown) => unknown): Tree {
  return Object.fromEntries(Object.entries(tree).map(([name, part]) => [name, f(part)]));
}

function isTree(node: unknown): node is Tree {
  return typeof node === 'object' && node !== null && Object.getPrototypeOf(node) === Object.prototype;
}
