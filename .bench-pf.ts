import * as tf from '@tensorflow/tfjs-core';
import { initBackend } from './src/tensor/backend.js';
await initBackend({ backend: 'tensorflow' });
const be = tf.backend() as any;
const x = tf.ones([2048, +(process.argv[2] ?? 4096)]);
const F = [{ name: 'T', type: 4, value: 1 }];
for (let i = 0; i < 6; i++) { const f0 = process.resourceUsage().minorPageFault, t0 = performance.now(); const y = be.executeSingleOutput('Mul', F, [x, x]); const t = performance.now() - t0; const f1 = process.resourceUsage().minorPageFault; y.dispose(); console.log(t.toFixed(2), 'ms faults', f1 - f0); }
