import { setupEngine, ensureEngine } from '/work/main/src/tensor/provision/setup.ts';
const [from, ...rest] = process.argv.slice(2);
const r = await setupEngine({ from: from === 'auto' ? undefined : from, gpu: rest.includes('gpu'), packageDir: '/tmp/x/node_modules/@tensorflow/tfjs-node-gpu', cacheDir: '/tmp/x/cache', say: (l) => console.log(((performance.now())/1000).toFixed(1), l) });
console.log(r, performance.now());
