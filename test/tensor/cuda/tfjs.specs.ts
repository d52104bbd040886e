import seedrandom from 'seedrandom';

/** A tensor's numbers, so that it can be made on any backend. */
export interface Spec {
  values: number[] | Uint8Array;
  shape: number[];
  dtype: 'float32' | 'int32' | 'bool';
}

export interface Case {
  kernel: string;
  about: string;
  inputs: Record<string, Spec> | Spec[];
  attrs?: Record<string, unknown>;
  tolerance?: number;
}

function spec(
  dtype: Spec['dtype'],
  shape: number[],
  seed: number,
  draw: (random: () => number) => number,
): Spec {
  const random = seedrandom(`${dtype} ${shape} ${seed}`);
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Array.from({ length: size }, () => draw(random));
  return { values: dtype === 'bool' ? Uint8Array.from(values) : values, shape, dtype };
}

export const float = (shape: number[], seed = 0): Spec =>
  spec('float32', shape, seed, (random) => Math.fround(4 * random() - 2));
export const positive = (shape: number[], seed = 0): Spec =>
  spec('float32', shape, seed, (random) => Math.fround(0.1 + 3 * random()));
export const int = (shape: number[], seed = 0): Spec =>
  spec('int32', shape, seed, (random) => Math.floor(9 * random()) - 4);
export const below = (limit: number, shape: number[], seed = 0): Spec =>
  spec('int32', shape, seed, (random) => Math.floor(limit * random()));
export const bool = (shape: number[], seed = 0): Spec =>
  spec('bool', shape, seed, (random) => Number(random() < 0.5));

const about = (...specs: Spec[]): string => specs.map(({ shape, dtype }) => `${dtype}[${shape}]`).join(' ');

export const of = (
  kernel: string,
  inputs: Case['inputs'],
  attrs: Record<string, unknown> = {},
  more: Partial<Case> = {},
): Case => ({
  kernel,
  about: `${about(...Object.values(inputs))} ${JSON.stringify(attrs)}`,
  inputs,
  attrs,
  ...more,
});
