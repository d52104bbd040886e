import * as tf from '@tensorflow/tfjs-core';
import { initBackend } from './src/tensor/backend.js';
import * as ops from './src/tensor/ops/index.js';
import { valueAndGrads, disposeParams, type Params } from './src/tensor/params.js';
import { adamw } from './src/optim/adamw.js';
import { normal, stream } from './src/random/streams.js';
type T1 = tf.Tensor1D; type T2 = tf.Tensor2D;
const [L, D, H, V, B, T] = (process.env.CFG ?? '4,256,4,4096,16,128').split(',').map(Number) as [number,number,number,number,number,number];
const F = process.env.F ? +process.env.F : 4 * D;
const backend = (process.env.BACKEND ?? 'tensorflow') as 'tensorflow';
await initBackend({ backend });
const Dh = D / H, N = B * T;
const rng = stream(1, 'b');
const rnd = (shape: number[], s = 0.02) => tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => normal(rng) * s), shape);
const gpt = process.env.MODEL === 'gpt2';
const params: Params = { emb: rnd([V, D]), head: rnd([D, V]), norm: tf.ones([D]), normb: tf.zeros([D]) };
for (let l = 0; l < L; l++) Object.assign(params, gpt ? { [`q${l}`]: rnd([D, D]), [`k${l}`]: rnd([D, D]), [`v${l}`]: rnd([D, D]), [`o${l}`]: rnd([D, D]), [`up${l}`]: rnd([D, F]), [`dn${l}`]: rnd([F, D]), [`n1${l}`]: tf.ones([D]), [`n2${l}`]: tf.ones([D]), [`n1b${l}`]: tf.zeros([D]), [`n2b${l}`]: tf.zeros([D]), [`ob${l}`]: tf.zeros([D]), [`upb${l}`]: tf.zeros([F]), [`dnb${l}`]: tf.zeros([D]) } : { [`q${l}`]: rnd([D, D]), [`k${l}`]: rnd([D, D]), [`v${l}`]: rnd([D, D]), [`o${l}`]: rnd([D, D]), [`g${l}`]: rnd([D, F]), [`u${l}`]: rnd([D, F]), [`dn${l}`]: rnd([F, D]), [`n1${l}`]: tf.ones([D]), [`n2${l}`]: tf.ones([D]) });
const ids = tf.tensor1d(Int32Array.from({ length: N }, () => Math.floor(rng() * V)), 'int32');
const labels = tf.tensor1d(Int32Array.from({ length: N }, () => Math.floor(rng() * V)), 'int32');
const cos = tf.tensor2d(Float32Array.from({ length: N * Dh / 2 }, (_, i) => Math.cos(Math.floor(i / (Dh / 2)) % T)), [N, Dh / 2]);
const sin = tf.tensor2d(Float32Array.from({ length: N * Dh / 2 }, (_, i) => Math.sin(Math.floor(i / (Dh / 2)) % T)), [N, Dh / 2]);
const dims = { batch: B, length: T, heads: H, kvHeads: H, headDim: Dh };
const teacher = process.env.KL ? (rnd([N, V], 1) as T2) : undefined;
function loss(p: Params): tf.Scalar {
  let x = ops.embedding(p.emb as T2, ids);
  for (let l = 0; l < L; l++) {
    const W = (n: string) => p[n + l] as T2; const w1 = (n: string) => p[n + l] as T1;
    const a = gpt ? ops.layerNorm(x, w1('n1'), w1('n1b'), 1e-5) : ops.rmsNorm(x, w1('n1'), 1e-5);
    let q = ops.linear(a, W('q')), k = ops.linear(a, W('k')); const v = ops.linear(a, W('v'));
    if (!gpt) { q = ops.rotary(q, cos, sin, H); k = ops.rotary(k, cos, sin, H); }
    x = tf.add(x, ops.linear(ops.causalAttention(q, k, v, dims), W('o'), gpt ? w1('ob') : undefined));
    const b = gpt ? ops.layerNorm(x, w1('n2'), w1('n2b'), 1e-5) : ops.rmsNorm(x, w1('n2'), 1e-5);
    const h = gpt ? ops.gelu(ops.linear(b, W('up'), w1('upb'))) : ops.swiglu(ops.linear(b, W('g')), ops.linear(b, W('u')));
    x = tf.add(x, ops.linear(h, W('dn'), gpt ? w1('dnb') : undefined));
  }
  x = gpt ? ops.layerNorm(x, p.norm as T1, p.normb as T1, 1e-5) : ops.rmsNorm(x, p.norm as T1, 1e-5);
  const logits = ops.linear(x, p.head as T2);
  if (teacher) return tf.mean(ops.reverseKl(logits, teacher));
  return tf.neg(tf.mean(ops.tokenLogprob(logits, labels)));
}
// per-kernel profile
if (process.env.PROFILE && backend === 'tensorflow') {
  const be = tf.backend() as any; const bd = be.binding;
  const acc = new Map<string, [number, number]>();
  const copy: any = {}; for (const k of Object.getOwnPropertyNames(bd)) copy[k] = typeof bd[k] === 'function' ? bd[k].bind(bd) : bd[k];
  for (const k of Object.getOwnPropertyNames(Object.getPrototypeOf(bd))) if (k !== 'constructor') copy[k] ??= (bd as any)[k];
  copy.executeOp = (name: string, a: any, i: any, n: any) => { const t = performance.now(); const r = bd.executeOp(name, a, i, n); const d = performance.now() - t; const key = name + (process.env.SHAPES ? ' ' + JSON.stringify(r[0]?.shape) : ''); const e = acc.get(key) ?? [0, 0]; e[0] += d; e[1]++; acc.set(key, e); return r; };
  be.binding = copy; (globalThis as any).__acc = acc;
}
const times: number[] = []; const ru: number[][] = [];
const steps = +(process.env.STEPS ?? 9);
for (let s = 0; s < steps; s++) {
  (globalThis as any).__acc?.clear();
  const t0 = performance.now(); const r0 = process.resourceUsage();
  const { value, grads } = tf.tidy(() => valueAndGrads(loss, params));
  value.dataSync();
  const t1 = performance.now(); times.push(t1 - t0); const r1 = process.resourceUsage(); ru.push([(r1.userCPUTime - r0.userCPUTime) / 1e3, (r1.systemCPUTime - r0.systemCPUTime) / 1e3, r1.minorPageFault - r0.minorPageFault]);
  if (s === steps - 1) console.log('loss', value.dataSync()[0]);
  tf.dispose([value, grads]);
}
const acc = (globalThis as any).__acc as Map<string, [number, number]> | undefined;
if (acc) { let tot = 0; for (const [, [t]] of acc) tot += t; console.log('op total', tot.toFixed(1)); for (const [k, [t, n]] of [...acc].sort((a, b) => b[1][0] - a[1][0]).slice(0, +(process.env.TOP ?? 40))) console.log(t.toFixed(2).padStart(9), String(n).padStart(5), (t / n * 1000).toFixed(0).padStart(8) + 'us', k); }
times.sort((a, b) => a - b);
const med = (i: number) => ru.map((x) => x[i]!).sort((a, b) => a - b)[ru.length >> 1]!.toFixed(0); console.log(`user ${med(0)} sys ${med(1)} faults ${med(2)} rss ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`);
console.log(`median ${times[times.length >> 1]!.toFixed(1)} min ${times[0]!.toFixed(1)} tensors ${tf.memory().numTensors}`);
if (process.env.ADAM) {
  const opt = adamw({ learningRate: 1e-4, clip: 1, weightDecay: 0.1 });
  const { value, grads } = tf.tidy(() => valueAndGrads(loss, params));
  let p = params, st = opt.init(params); const ts: number[] = [];
  for (let s = 0; s < 15; s++) { const t0 = performance.now(); ({ params: p, state: st } = opt.step(grads, st, p)); p.emb!.dataSync(); ts.push(performance.now() - t0); }
  ts.sort((a, b) => a - b); console.log(`adamw median ${ts[7]!.toFixed(1)} min ${ts[0]!.toFixed(1)} of ${Object.keys(p).length} tensors`);
  const gn: number[] = []; for (let s = 0; s < 9; s++) { const t0 = performance.now(); opt.globalNorm(grads); gn.push(performance.now() - t0); } gn.sort((a,b)=>a-b); console.log('globalNorm', gn[4]!.toFixed(2));
}
