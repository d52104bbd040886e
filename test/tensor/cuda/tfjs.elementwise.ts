import { bool, type Case, float, int, of, positive } from './tfjs.specs.js';

/** Shapes of every rank from 0 to 5, one with more numbers than the backend keeps with the processor, one with none. */
const shapes = [[], [7], [3, 5], [2, 3, 4], [2, 1, 3, 4], [2, 3, 1, 2, 3], [40, 50], [3, 0, 2]];

/** Pairs of shapes that broadcast: numbers, rows, columns, both at once, beyond two dimensions, nothing. */
const pairs: [number[], number[]][] = [
  [[], []],
  [[], [3, 4]],
  [[6], []],
  [[3, 5], [5]],
  [
    [3, 1],
    [3, 5],
  ],
  [
    [3, 1],
    [1, 5],
  ],
  [
    [2, 3, 4],
    [2, 1, 4],
  ],
  [
    [2, 3, 4],
    [3, 1],
  ],
  [
    [2, 1, 3, 1, 2],
    [1, 4, 1, 2, 1],
  ],
  [
    [40, 50],
    [1, 50],
  ],
  [
    [0, 4],
    [1, 4],
  ],
  [
    [2048, 1],
    [1, 1],
  ],
];

const binary: Case[] = [
  ...['Add', 'Sub', 'Multiply', 'Maximum', 'Minimum'].flatMap((kernel) =>
    pairs.flatMap(([a, b]) => [
      of(kernel, { a: float(a), b: float(b, 1) }),
      of(kernel, { a: int(a), b: int(b, 1) }),
    ]),
  ),
  ...['RealDiv', 'Pow'].flatMap((kernel) =>
    pairs.map(([a, b]) => of(kernel, { a: positive(a), b: positive(b, 1) })),
  ),
  ...['Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual'].flatMap((kernel) =>
    pairs.flatMap(([a, b]) => [
      of(kernel, { a: float(a), b: float(b) }),
      of(kernel, { a: int(a), b: int(b, 1) }),
      of(kernel, { a: bool(a), b: bool(b, 1) }),
    ]),
  ),
  ...pairs.map(([a, b]) => of('LogicalAnd', { a: bool(a), b: bool(b, 1) })),
  ...shapes.map((shape) => of('AddN', [float(shape), float(shape, 1), float(shape, 2)])),
];

const unary: Case[] = [
  ...['Exp', 'Sigmoid', 'Tanh', 'Erf', 'Neg', 'Square', 'Abs', 'Relu'].flatMap((kernel) =>
    shapes.map((shape) => of(kernel, { x: float(shape) })),
  ),
  ...['Log', 'Sqrt', 'Rsqrt'].flatMap((kernel) => shapes.map((shape) => of(kernel, { x: positive(shape) }))),
  ...['Neg', 'Square', 'Abs', 'Relu'].map((kernel) => of(kernel, { x: int([4, 5]) })),
  of('Step', { x: float([4, 5]) }, { alpha: -1 }),
  ...shapes.map((shape) =>
    of('ClipByValue', { x: float(shape) }, { clipValueMin: -0.5, clipValueMax: 0.75 }),
  ),
  of('ClipByValue', { x: int([4, 5]) }, { clipValueMin: -1, clipValueMax: 2 }),
  of('LogicalNot', { x: bool([4, 5]) }),
  ...[float([6, 7]), int([6, 7]), bool([6, 7]), float([0]), float([])].flatMap((x) =>
    ['float32', 'int32', 'bool'].map((dtype) => of('Cast', { x }, { dtype })),
  ),
  ...[float([3, 2]), int([3, 2]), bool([3, 2]), float([]), float([0, 2])].flatMap((x) =>
    ['ZerosLike', 'OnesLike', 'Identity'].map((kernel) => of(kernel, { x })),
  ),
  of('Fill', {}, { shape: [3, 4], value: -2.5, dtype: 'float32' }),
  of('Fill', {}, { shape: [3, 400], value: 7, dtype: 'int32' }),
  of('Fill', {}, { shape: [5], value: 1, dtype: 'bool' }),
  of('Fill', {}, { shape: [], value: 0 }),
  ...[float, int, bool].map((make) =>
    of('Select', { condition: bool([4, 5]), t: make([4, 5], 1), e: make([4, 5], 2) }),
  ),
  of('Select', { condition: bool([4, 5]), t: float([4, 5], 1), e: int([4, 5], 2) }),
];

export const elementwiseCases: Case[] = [...binary, ...unary];
