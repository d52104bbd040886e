import { below, bool, type Case, float, int, of } from './tfjs.specs.js';

const axes: [number[], number | number[]][] = [
  [[], []],
  [[9], 0],
  [[3, 5], 1],
  [[3, 5], 0],
  [
    [3, 5],
    [0, 1],
  ],
  [[2, 3, 4], 1],
  [
    [2, 3, 4],
    [0, 2],
  ],
  [
    [2, 3, 4],
    [1, 2],
  ],
  [
    [2, 3, 4, 2, 3],
    [1, 3],
  ],
  [[5, 700], 1],
  [[700, 5], 0],
  [[1, 9000], [-1]],
  [[0, 3], 1],
];

const reductions: Case[] = [
  ...axes.flatMap(([shape, axis]) =>
    [true, false].flatMap((keepDims) => [
      of('Sum', { x: float(shape) }, { axis, keepDims }, { tolerance: 1e-5 }),
      of('Sum', { x: int(shape) }, { axis, keepDims }),
      of('Mean', { x: float(shape) }, { axis, keepDims }),
      of('Max', { x: float(shape) }, { reductionIndices: axis, keepDims }),
      of('Max', { x: int(shape) }, { reductionIndices: axis, keepDims }),
      of('Min', { x: float(shape) }, { axis, keepDims }),
    ]),
  ),
  of('Sum', { x: bool([4, 5]) }, { axis: 1, keepDims: false }),
  of('Mean', { x: int([4, 5]) }, { axis: 1, keepDims: false }),
  ...axes
    .filter(([shape, axis]) => typeof axis === 'number' && shape.length > 0)
    .flatMap(([shape, axis]) => [float(shape), int(shape)].map((x) => of('ArgMax', { x }, { axis }))),
  ...[[6], [3, 5], [2, 3, 4], [2, 700], [0, 4]].map((shape) =>
    of('Softmax', { logits: float(shape) }, { dim: shape.length - 1 }),
  ),
];

const moves: Case[] = [
  of('Reshape', { x: float([2, 6]) }, { shape: [3, -1] }),
  of('ExpandDims', { input: float([2, 6]) }, { dim: 1 }),
  ...(
    [
      [
        [3, 5],
        [1, 0],
      ],
      [
        [70, 33],
        [1, 0],
      ],
      [
        [3, 40, 35],
        [0, 2, 1],
      ],
      [
        [2, 3, 4],
        [1, 0, 2],
      ],
      [
        [2, 3, 4],
        [2, 1, 0],
      ],
      [
        [2, 3, 4, 5],
        [0, 2, 1, 3],
      ],
      [
        [2, 3, 2, 3, 2],
        [4, 2, 0, 3, 1],
      ],
      [
        [2, 0, 3],
        [2, 1, 0],
      ],
      [[4], [0]],
    ] as [number[], number[]][]
  ).flatMap(([shape, perm]) =>
    [float, int, bool].map((make) => of('Transpose', { x: make(shape) }, { perm })),
  ),
  of('Slice', { x: float([7]) }, { begin: [2], size: [3] }),
  of('Slice', { x: float([4, 6]) }, { begin: [1, 2], size: [2, -1] }),
  of('Slice', { x: bool([4, 6]) }, { begin: [0, 1], size: [4, 3] }),
  of('Slice', { x: int([3, 4, 5]) }, { begin: [1, 0, 2], size: [2, 4, 1] }),
  of('Slice', { x: float([3, 4]) }, { begin: [1, 0], size: [0, 4] }),
  of('SplitV', { x: float([4, 6]) }, { numOrSizeSplits: 3, axis: 1 }),
  of('SplitV', { x: float([4, 6]) }, { numOrSizeSplits: [1, 3], axis: 0 }),
  of('Concat', [float([2, 3]), float([4, 3])], { axis: 0 }),
  of('Concat', [float([2, 3]), float([2, 1]), float([2, 0])], { axis: 1 }),
  of('Concat', [bool([2, 3, 2]), bool([2, 2, 2])], { axis: 1 }),
  of('Concat', [int([3]), int([2])], { axis: 0 }),
  ...[0, 1, 2].map((axis) => of('Pack', [float([3, 4]), float([3, 4], 1), float([3, 4], 2)], { axis })),
  of('Pack', [float([]), float([], 1)], { axis: 0 }),
  ...[0, 1, 2].map((axis) => of('Unpack', { value: float([3, 4, 2]) }, { axis })),
  of(
    'PadV2',
    { x: float([3, 4]) },
    {
      paddings: [
        [1, 2],
        [0, 3],
      ],
      constantValue: 0.5,
    },
  ),
  of('PadV2', { x: int([4]) }, { paddings: [[2, 0]], constantValue: 0 }),
  of('Tile', { x: float([2, 3]) }, { reps: [2, 3] }),
  of('Tile', { x: bool([2, 1, 3]) }, { reps: [1, 4, 2] }),
  of('Tile', { x: float([1, 5]) }, { reps: [300, 1] }),
];

const indexed: Case[] = [
  of('GatherV2', { x: float([5, 3]), indices: below(5, [4]) }, { axis: 0, batchDims: 0 }),
  of('GatherV2', { x: float([5, 3]), indices: below(3, [2, 2]) }, { axis: 1, batchDims: 0 }),
  of('GatherV2', { x: bool([2, 5, 3]), indices: below(5, [4]) }, { axis: 1, batchDims: 0 }),
  of('GatherV2', { x: float([2, 5, 3]), indices: below(5, [2, 4]) }, { axis: 1, batchDims: 1 }),
  of('GatherV2', { x: float([50]), indices: below(50, [70]) }, { axis: 0, batchDims: 0 }),
  of('OneHot', { indices: below(5, [4, 2]) }, { depth: 4, onValue: 2, offValue: -1, dtype: 'int32' }),
  of('OneHot', { indices: below(5, [4]) }, { depth: 5, onValue: 0.5, offValue: 0, dtype: 'float32' }),
  of('ScatterNd', { indices: below(6, [9, 1]), updates: float([9]) }, { shape: [6] }),
  of('ScatterNd', { indices: below(5, [9, 1]), updates: float([9, 3]) }, { shape: [5, 3] }),
  of('ScatterNd', { indices: below(3, [9, 2]), updates: int([9, 2]) }, { shape: [4, 3, 2] }),
  of('UnsortedSegmentSum', { x: float([9, 3]), segmentIds: below(4, [9]) }, { numSegments: 5 }),
  ...(
    [
      [
        [3, 4],
        [4, 5],
      ],
      [
        [2, 3, 4],
        [2, 4, 5],
      ],
      [
        [1, 3, 4],
        [2, 4, 5],
      ],
      [
        [1, 1, 3, 4],
        [2, 2, 4, 3],
      ],
      [
        [3, 0],
        [0, 2],
      ],
      [
        [0, 3],
        [3, 2],
      ],
    ] as [number[], number[]][]
  ).flatMap(([a, b]) =>
    [0, 1, 2, 3].map((turned) => {
      const swap = (shape: number[]): number[] => [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!];
      const transposeA = (turned & 1) === 1;
      const transposeB = (turned & 2) === 2;
      return of(
        'BatchMatMul',
        { a: float(transposeA ? swap(a) : a), b: float(transposeB ? swap(b) : b, 1) },
        { transposeA, transposeB },
        { tolerance: 1e-5 },
      );
    }),
  ),
];

export const shapeCases: Case[] = [...reductions, ...moves, ...indexed];
