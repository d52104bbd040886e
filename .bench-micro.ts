import * as tf from '@tensorflow/tfjs-core';
import { initBackend } from './src/tensor/backend.js';
await initBackend({ backend: 'tensorflow' });
const be = tf.backend() as any;
const ty = (n: string, v = 1) => ({ name: n, type: 4, value: v });
const bo = (n: string, v: boolean) => ({ name: n, type: 3, value: v });
const it = (n: string, v: number) => ({ name: n, type: 1, value: v });
const op = (n: string, a: any[], ...i: any[]): tf.Tensor => be.executeSingleOutput(n, a, i);
const F = [ty('T')];
function bench(title: string, variants: Record<string, () => any>, rounds = 15) {
  const t: Record<string, number[]> = {};
  for (let r = 0; r < rounds; r++) for (const [k, f] of Object.entries(variants)) { const t0 = performance.now(); tf.tidy(() => { f(); }); (t[k] ??= []).push(performance.now() - t0); }
  console.log(title);
  for (const [k, v] of Object.entries(t)) { v.sort((a, b) => a - b); console.log('   ', k.padEnd(40), (v[v.length >> 1]! * 1000).toFixed(0).padStart(8), 'us  min', (v[0]! * 1000).toFixed(0)); }
}
const N = 2048, V = 4096, D = 256;
const fill = (...s: number[]) => { const a = new Float32Array(s.reduce((x, y) => x * y, 1)); for (let i = 0; i < a.length; i++) a[i] = Math.sin(i * 12.9898) * 2; return tf.tensor(a, s); };
const which = process.argv[2] ?? 'all';
const on = (n: string) => which === 'all' || which.split(',').includes(n);
if (on('scale')) {
  const x = fill(N, V), c = fill(N, 1), cf = fill(N), x3 = tf.reshape(x, [N, 1, V]), c3 = tf.reshape(c, [N, 1, 1]);
  const idx = tf.tensor2d(Int32Array.from({ length: 2 * N }, (_, i) => i >> 1), [N, 2], 'int32');
  const n1 = tf.scalar(N);
  bench('scale rows [2048,4096]', {
    'Mul bcast col': () => op('Mul', F, x, c),
    'Mul same': () => op('Mul', F, x, x),
    'Mul scalar': () => op('Mul', F, x, n1),
    'BatchMatMul K=1': () => op('BatchMatMulV2', [...F, bo('adj_x', false), bo('adj_y', false)], c3, x3),
    'BatchMatMul K=1 swapped': () => op('BatchMatMulV2', [...F, bo('adj_x', true), bo('adj_y', false)], x3, c3),
    'Mul 3d': () => op('Mul', F, x3, c3),
    'Sub bcast col': () => op('Sub', F, x, c),
    'BiasAdd row': () => op('AddV2', F, x, tf.tensor1d(new Float32Array(V))),
  });
  void idx; void cf;
}
if (on('soft')) {
  const x = fill(N, V);
  bench('softmax', {
    Softmax: () => op('Softmax', F, x), LogSoftmax: () => op('LogSoftmax', F, x), Exp: () => op('Exp', F, x), Log: () => op('Log', F, x),
    Max: () => tf.max(x, 1, true), Sum: () => tf.sum(x, 1), MulNoNan: () => op('MulNoNan', F, x, x), Mul: () => op('Mul', F, x, x), Sub: () => op('Sub', F, x, x),
    Neg: () => op('Neg', F, x), Xdivy: () => op('Xdivy', F, x, x), Maximum: () => op('Maximum', F, x, x), ones: () => tf.matMul(x as any, tf.ones([V, 1])),
    SumSquare: () => op('Square', F, x),
  });
}
if (on('seg')) {
  const dy = fill(N, D); const ids = tf.tensor1d(Int32Array.from({ length: N }, (_, i) => (i * 7919) % V), 'int32');
  const vs = tf.scalar(V, 'int32'); const sh = tf.tensor1d([V, D], 'int32');
  bench('embedding gradient', {
    UnsortedSegmentSum: () => op('UnsortedSegmentSum', [...F, ty('Tindices', 3), ty('Tnumsegments', 3)], dy, ids, vs),
    InplaceAdd: () => op('InplaceAdd', F, op('Fill', [...F, ty('index_type', 3)], sh, tf.scalar(0)), ids, dy),
    ScatterNd: () => op('ScatterNd', [...F, ty('Tindices', 3)], tf.reshape(ids, [N, 1]), dy, sh),
    zeros: () => tf.zeros([V, D]),
  });
}
if (on('rows')) {
  const x = fill(N, D), c = fill(N, 1), g = fill(D), one = tf.ones([D, 1]);
  bench('[2048,256]', {
    'Mul same': () => op('Mul', F, x, x), 'Mul col': () => op('Mul', F, x, c), 'Mul row': () => op('Mul', F, x, g), 'AddV2 row': () => op('AddV2', F, x, g), BiasAdd: () => op('BiasAdd', F, x, g),
    Mean: () => tf.mean(x, 1, true), Sum: () => tf.sum(x, 1, true), 'MatMul ones': () => op('MatMul', [...F, bo('transpose_a', false), bo('transpose_b', false)], x, one),
    Square: () => op('Square', F, x), 'batch dot': () => op('BatchMatMulV2', [...F, bo('adj_x', false), bo('adj_y', true)], tf.reshape(x, [N, 1, D]), tf.reshape(x, [N, 1, D])),
    'batch scale': () => op('BatchMatMulV2', [...F, bo('adj_x', false), bo('adj_y', false)], tf.reshape(c, [N, 1, 1]), tf.reshape(x, [N, 1, D])),
    'colsum ones': () => op('MatMul', [...F, bo('transpose_a', false), bo('transpose_b', false)], tf.ones([1, N]), x),
    'colsum Sum0': () => tf.sum(x, 0),
    BiasAddGrad: () => op('BiasAddGrad', F, x),
    RsqrtAll: () => op('Rsqrt', F, x),
  });
}
if (on('big')) {
  const x = fill(N, 1024);
  bench('[2048,1024]', { Mul: () => op('Mul', F, x, x), Add: () => op('AddV2', F, x, x), Sigmoid: () => op('Sigmoid', F, x), SigmoidGrad: () => op('SigmoidGrad', F, x, x), Tanh: () => op('Tanh', F, x), Square: () => op('Square', F, x), 'Mul scalar': () => op('Mul', F, x, tf.scalar(2)), BiasAdd: () => op('BiasAdd', F, x, tf.ones([1024])) , Identity: () => op('Snapshot', F, x)});
}
if (on('mm')) {
  const x = fill(N, D), w = fill(D, 1024), dy = fill(N, 1024), w2 = fill(1024, D);
  const mm = (a: any, b: any, ta: boolean, tb: boolean) => op('MatMul', [...F, bo('transpose_a', ta), bo('transpose_b', tb)], a, b);
  const bm = (a: any, b: any, ta: boolean, tb: boolean) => op('BatchMatMulV2', [...F, bo('adj_x', ta), bo('adj_y', tb)], a, b);
  bench('matmul 1.07 GF', { 'MatMul fwd': () => mm(x, w, false, false), 'Batch fwd': () => bm(x, w, false, false), 'dW MatMul ta': () => mm(x, dy, true, false), 'dW Batch': () => bm(x, dy, true, false), 'dW transposed first': () => mm(op('Transpose', [...F, ty('Tperm', 3)], x, tf.tensor1d([1, 0], 'int32')), dy, false, false), 'dx MatMul tb': () => mm(dy, w, false, true), 'dx Batch': () => bm(dy, w, false, true), 'dx transposed first': () => mm(dy, op('Transpose', [...F, ty('Tperm', 3)], w, tf.tensor1d([1, 0], 'int32')), false, false), 'down fwd': () => mm(dy, w2, false, false) });
}
if (on('att')) {
  const B = 16, T = 128, H = 4, Dh = 64; const q = fill(N, D), p = fill(64, T, T), o = fill(64, T, Dh), mask = fill(T, T);
  const tr = (x: any, perm: number[]) => op('Transpose', [...F, ty('Tperm', 3)], x, tf.tensor1d(perm, 'int32'));
  const bm = (a: any, b: any, ta: boolean, tb: boolean) => op('BatchMatMulV2', [...F, bo('adj_x', ta), bo('adj_y', tb)], a, b);
  const q4 = tf.reshape(q, [B, T, H, Dh]);
  const cs = fill(N, 1, 32), half = fill(N, H, 32), x4 = fill(N, H, 2, 32), sw = fill(64, 64), x2 = fill(N * H, 64);
  bench('attention', { transpose: () => tr(q4, [0, 2, 1, 3]), 'q k^T': () => bm(o, o, false, true), 'p v': () => bm(p, o, false, false), 'p^T do': () => bm(p, o, true, false), softmax: () => op('Softmax', F, p), 'add mask': () => op('AddV2', F, p, mask), 'mul p': () => op('Mul', F, p, p), 'sub col': () => op('Sub', F, p, fill(64, T, 1)), 'o sum': () => tf.sum(o, 2, true) });
  const cs4 = fill(N, 1, 1, 32), cs4b = fill(N, 1, 2, 32), full = fill(N, D);
  bench('rotary', { unpack: () => be.executeMultipleOutputs('Unpack', [it('num', 2), ty('T'), it('axis', 2)], [x4], 2), pack: () => op('Pack', [it('N', 2), ty('T'), it('axis', 2)], half, half), 'mul [N,H,32]*[N,1,32]': () => op('Mul', F, half, cs), 'add half': () => op('AddV2', F, half, half), 'rot matmul': () => op('MatMul', [...F, bo('transpose_a', false), bo('transpose_b', false)], x2, sw), 'mul full': () => op('Mul', F, full, full), 'mul 4d': () => op('Mul', F, x4, cs4), 'mul 4db': () => op('Mul', F, x4, cs4b), 'roll': () => op('Roll', [ty('T'), ty('Tshift', 3), ty('Taxis', 3)], x4, tf.scalar(1, 'int32'), tf.scalar(2, 'int32')), 'reverse': () => op('ReverseV2', [ty('T'), ty('Tidx', 3)], x4, tf.tensor1d([2], 'int32')), 'tile': () => tf.tile(cs, [1, 4, 1]), gatherShuf: () => tf.gather(full, tf.tensor1d(Int32Array.from({length: 256}, (_, i) => i ^ 32), 'int32'), 1) , 'transpose swap': () => tr(x4, [2, 0, 1, 3])});
}
