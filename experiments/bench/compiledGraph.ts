/** A function of tensors as one TensorFlow graph, run by one call: for measuring only, nothing in the library uses it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import type { Attr } from '../../src/tensor/ops/raw.js';
import { bytes, concat, float, integer, text, varint } from './protobuf.js';

interface Result {
  id: number;
  shape: number[];
  dtype: number;
}

/** The inside of the native backend that is used here. */
interface Backend {
  binding: {
    createTensor(shape: number[], dtype: number, values: ArrayBufferView): number;
    executeOp(name: string, attrs: Attr[], inputs: number[], results: number): Result[];
    loadSavedModel(directory: string, tags: string): number;
    runSavedModel(id: number, inputs: number[], feeds: string, fetches: string): Result[];
    deleteSavedModel(id: number): void;
  };
  getInputTensorIds(tensors: tf.Tensor[]): number[];
  createOutputTensor(result: Result): tf.Tensor;
}

export interface CompiledGraph {
  /** The results for inputs of the shapes that were compiled; the caller owns them. */
  run(inputs: tf.Tensor[]): tf.Tensor[];
  dispose(): void;
}

/**
 * Runs `f` once, writes down the operations it asks the native engine for, and loads them as a graph. Whatever `f` makes of
 * JavaScript values on the way is frozen into the graph; what changes from call to call must be among `inputs`.
 */
export function compileGraph(f: (inputs: tf.Tensor[]) => tf.Tensor[], inputs: tf.Tensor[]): CompiledGraph {
  const backend = tf.backend() as unknown as Backend;
  const { binding } = backend;
  const nodes: Uint8Array[] = [];
  const nameOf = new Map<number, string>(); // of each tensor, by the engine's number
  const add = (op: string, from: string[], attrs: Uint8Array[]): string => {
    const name = `n${nodes.length}`;
    nodes.push(concat([text(1, name), text(2, op), ...from.map((x) => text(3, x)), ...attrs]));
    return name;
  };
  const named = (id: number): string => {
    const name = nameOf.get(id);
    if (name === undefined)
      throw new Error('compileGraph: a tensor from outside that is not among the inputs');
    return name;
  };
  const feeds = backend.getInputTensorIds(inputs).map((id, i) => {
    const { shape, dtype } = inputs[i]!;
    const type = attribute('dtype', integer(6, dtype === 'int32' ? 3 : 1));
    const name = `${add('Placeholder', [], [type, attribute('shape', bytes(7, shapeProto(shape)))])}:0`;
    nameOf.set(id, name);
    return name;
  });
  backend.binding = Object.create(binding, {
    createTensor: {
      value(shape: number[], dtype: number, values: ArrayBufferView): number {
        const id = binding.createTensor(shape, dtype, values);
        const content = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
        const value = concat([integer(1, dtype), bytes(2, shapeProto(shape)), bytes(4, content)]);
        const type = attribute('dtype', integer(6, dtype));
        nameOf.set(id, `${add('Const', [], [type, attribute('value', bytes(8, value))])}:0`);
        return id;
      },
    },
    executeOp: {
      value(op: string, attrs: Attr[], from: number[], count: number): Result[] {
        const results = binding.executeOp(op, attrs, from, count);
        const node = add(op, from.map(named), attrs.map(attributeOf));
        for (const [i, { id }] of results.entries()) nameOf.set(id, `${node}:${i}`);
        return results;
      },
    },
  });
  let fetches: string[];
  try {
    const outputs = tf.tidy(() => f(inputs));
    fetches = backend.getInputTensorIds(outputs).map(named);
    tf.dispose(outputs);
  } finally {
    backend.binding = binding;
  }
  const session = load(binding, nodes);
  const [feedNames, fetchNames] = [feeds.join(','), fetches.join(',')];
  return {
    run(given) {
      const results = binding.runSavedModel(session, backend.getInputTensorIds(given), feedNames, fetchNames);
      return results.map((result) => backend.createOutputTensor(result));
    },
    dispose: () => binding.deleteSavedModel(session),
  };
}

/** By way of a file: the binding loads graphs from disk only. */
function load(binding: Backend['binding'], nodes: Uint8Array[]): number {
  const versions = bytes(4, integer(1, 1087)); // the producer: graphs of this age load in 2.9 and in 2.21
  const graph = bytes(2, concat([...nodes.map((node) => bytes(1, node)), versions]));
  const meta = bytes(2, concat([bytes(1, text(4, 'serve')), graph]));
  const directory = mkdtempSync(join(tmpdir(), 'minillm-graph-'));
  try {
    mkdirSync(join(directory, 'variables'));
    writeFileSync(join(directory, 'saved_model.pb'), concat([integer(1, 1), meta]));
    return binding.loadSavedModel(directory, 'serve');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** An entry of a node's map of attributes. */
function attribute(name: string, value: Uint8Array): Uint8Array {
  return bytes(5, concat([text(1, name), bytes(2, value)]));
}

/** From the binding's form of an attribute (ops/raw.ts) to the graph's. */
function attributeOf({ name, type, value }: Attr): Uint8Array {
  const write = [
    () => text(2, value as string),
    () => integer(3, value as number),
    () => float(4, value as number),
    () => integer(5, value ? 1 : 0),
    () => integer(6, value as number),
    () => bytes(7, shapeProto(value as number[])),
  ][type]!;
  return attribute(name, write());
}

function shapeProto(shape: number[]): Uint8Array {
  return concat(shape.map((size) => bytes(2, concat([varint(8), varint(size)]))));
}
