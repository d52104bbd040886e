import { workloads } from '/work/h1/src/bench/workloads.js';
import { loadModel } from '/work/h1/src/models/checkpoint.js';
import { initModel } from '/work/h1/src/models/model.js';
import { saveModel } from '/work/h1/src/models/checkpoint.js';
import { newModelConfig } from '/work/h1/src/models/families.js';
import { initBackend } from '/work/h1/src/tensor/backend.js';
import { existsSync } from 'node:fs';
await initBackend();
const [dtype, batch, n] = [process.argv[2]!, Number(process.argv[3]), Number(process.argv[4] ?? 3)];
const dir='/tmp/h1/gpt2';
if (!existsSync(dir)) { const m = initModel(newModelConfig('gpt2',{layers:12,hiddenSize:768,heads:12,vocabSize:50257,maxPositions:1024}),1); await saveModel(dir,m,{dtype:'bf16'}); }
const student = await loadModel(dir,{dtype: dtype as any});
const w = workloads.generate({student}, { batch, promptLen: 32, maxResponse: 64, seq: 256, minibatch: 16, inner: 4, ptLen: 96, alpha: 0.2 });
await w.run();
console.log('READY', process.pid);
const ts:number[]=[];
for(let i=0;i<n;i++){ const c=process.cpuUsage(); const t=performance.now(); await w.run(); const u=process.cpuUsage(c); ts.push(performance.now()-t); console.log((performance.now()-t).toFixed(0),'ms', ((u.user+u.system)/1e3).toFixed(0),'cpu ms'); }
