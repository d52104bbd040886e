import { UsageError } from '../../errors.js';
import { familyOf } from '../../models/families.js';
import type { Model } from '../../models/model.js';
import { float64Families, type Matrix, type Read, type Reader, readToken } from './decoder.js';
import { Tape } from './tape.js';

/** A parameter of a model and where it is among all of them, one after the other in row-major order. */
export interface ParameterPlace {
  name: string;
  /** In memory: linear maps are [in, out]. */
  shape: number[];
  offset: number;
  size: number;
  /** Whether files hold the transpose. */
  transposed: boolean;
}

/** A model on a tape of its own: the parameters are its first nodes. */
export interface Float64Model {
  reader: Reader;
  places: ParameterPlace[];
  /** Number of parameters. */
  size: number;
}

/**
 * Puts the parameters of a model on a tape, as the float32 numbers that they are.
 *
 * @throws UsageError for an architecture that the float64 decoder does not know
 */
export function float64Model({ config, params }: Model, where: string): Float64Model {
  if (!float64Families.includes(config.family) || config.ropeScaling) {
    const found = config.ropeScaling ? `${config.family} with rope_scaling` : config.family;
    throw new UsageError(
      `${where}: the oracle reads ${float64Families.join(', ')} without rope_scaling, not ${found}`,
    );
  }
  const tape = new Tape();
  const matrices = new Map<string, Matrix>();
  const specs = Object.entries(familyOf(config).parameters(config));
  const places = specs.map(([name, { transposed }]): ParameterPlace => {
    const { shape } = params[name]!;
    const offset = tape.length;
    const nodes = Array.from(params[name]!.dataSync(), (value) => tape.node(value));
    matrices.set(name, { columns: shape.at(-1)!, nodes });
    return { name, shape, offset, size: nodes.length, transposed };
  });
  const reader: Reader = { tape, config, parameter: (name) => matrices.get(name)! };
  return { reader, places, size: tape.length };
}

/** Reads a prompt and then every prefix of a tree of responses, each token once. */
export function readTree(
  { reader }: Float64Model,
  prompt: readonly number[],
  prefixes: readonly (readonly number[])[],
): Read[] {
  const reads = new Map<string, Read>();
  let root: Read | undefined;
  for (const token of prompt) root = readToken(reader, token, root);
  reads.set('', root!);
  // Shorter prefixes come first.
  for (const prefix of prefixes) {
    if (prefix.length === 0) continue;
    reads.set(prefix.join(), readToken(reader, prefix.at(-1)!, reads.get(prefix.slice(0, -1).join())));
  }
  return prefixes.map((prefix) => reads.get(prefix.join())!);
}

export function logitsOf({ reader: { tape } }: Float64Model, read: Read): Float64Array {
  return Float64Array.from(read.logits, (node) => tape.value(node));
}

/** ∂ logit / ∂ parameters for every logit after a prefix: [V · P]. */
export function jacobianOf({ reader: { tape }, size }: Float64Model, read: Read): Float64Array {
  const ranges: Read['range'][] = [];
  for (let r: Read | undefined = read; r; r = r.before) ranges.unshift(r.range);
  const jacobian = new Float64Array(read.logits.length * size);
  for (const [v, node] of read.logits.entries()) jacobian.set(tape.derivatives(node, size, ranges), v * size);
  return jacobian;
}
