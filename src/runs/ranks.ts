import { deserialize, serialize } from 'node:v8';
import * as tf from '@tensorflow/tfjs-core';
import { agree } from '../cluster/agree.js';
import type { Cluster } from '../cluster/cluster.js';
import { flattenState, type State } from '../optim/state.js';
import type { TrainConfig } from '../training/config.js';
import type { TrainingState } from '../training/state.js';
import { digestsOf } from './inputDigests.js';
import { stringifyConfig } from './runConfig.js';

/**
 * Looks whether all ranks are about to train the same: version, engine, configuration, data and weights.
 *
 * @param environment of this rank (`describeEnvironment`)
 * @throws UsageError on every rank, naming the first that differs, and in what
 */
export async function agreeOnRun(
  cluster: Cluster,
  config: TrainConfig,
  environment: Record<string, unknown>,
  log: (line: string) => void,
): Promise<void> {
  if (cluster.size === 1) return;
  const contents = Object.entries(await digestsOf(config)).map(([field, digest]) => [
    `the contents of ${field}`,
    digest,
  ]);
  const { engine, cpu, threads } = environment;
  const same = {
    'the program': environment.package,
    engine,
    ...fieldsOf(stringifyConfig(config)),
    ...Object.fromEntries(contents),
  };
  agree(cluster, { same, noted: { cpu, threads } }, log);
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
  const [going] = cluster.broadcast(Uint8Array.of(Number(resumes)));
  if (going !== 1) return here ?? { state: fresh(), resumeAt: undefined };
  const tensors = here && flattenState(tensorsOf(here.state)).tensors;
  const plan = here && {
    rest: withoutTensors(here.state as unknown as State),
    shapes: Object.entries(tensors!).map(([name, x]) => [name, x.shape] as const),
  };
  const { rest, shapes } = deserialize(cluster.broadcast(serialize(plan))) as NonNullable<typeof plan>;
  const given: Record<string, tf.Tensor> = {};
  for (const [name, shape] of shapes) {
    const own = tensors?.[name]?.dataSync<'float32'>();
    const bytes = cluster.broadcast(
      own ? new Uint8Array(own.buffer, own.byteOffset, own.byteLength) : new Uint8Array(),
    );
    if (!here) given[name] = tf.tensor(new Float32Array(bytes.slice().buffer), [...shape]);
  }
  if (here) return here;
  return { state: withTensors(rest, given) as unknown as TrainingState, resumeAt: undefined };
}

/** The parts of a state that hold tensors. */
function tensorsOf({ params, optimizer, value }: TrainingState): State {
  return { params, optimizer, ...(value && { value }) } as State;
}

/** A tensor leaves its path in its place. */
type Held = { tensor: string };

function withoutTensors(node: unknown, path: readonly string[] = []): unknown {
  if (node instanceof tf.Tensor) return { tensor: path.join('/') } satisfies Held;
  if (!isTree(node)) return node;
  return Object.fromEntries(
    Object.entries(node).map(([name, value]) => [name, withoutTensors(value, [...path, name])]),
  );
}

function withTensors(node: unknown, given: Record<string, tf.Tensor>): unknown {
  if (!isTree(node)) return node;
  const { tensor } = node as Partial<Held>;
  if (typeof tensor === 'string') return given[tensor]!;
  return Object.fromEntries(Object.entries(node).map(([name, value]) => [name, withTensors(value, given)]));
}

function isTree(node: unknown): node is Record<string, unknown> {
  return typeof node === 'object' && node !== null && Object.getPrototypeOf(node) === Object.prototype;
}
