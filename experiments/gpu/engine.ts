import { initBackend, precisions } from '../../src/tensor/backend.js';
import { kernelFiles, kernelSources } from '../../src/tensor/engines/cuda/kernelSources.js';
import { loadCuda } from '../../src/tensor/engines/cuda/loadCuda.js';
import { tell } from './rows.js';

/** The part `engine`: opens the card, and says what it is. Nothing else runs where this fails. */
export async function engine(): Promise<void> {
  const started = performance.now();
  const { engine } = await initBackend({ backend: 'cuda' });
  const { info } = await loadCuda({ emulated: Boolean(process.env.MINILLM_CUDA_EMULATOR) });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const memory = info.emulated ? '' : `, sm_${info.architecture}, ${(info.totalBytes / 1e9).toFixed(0)} GB`;
  tell('opens', 'ok', `${engine}${memory}; ${seconds} s; Node ${process.versions.node}`);
  const count = kernelSources(kernelFiles()).size;
  tell('precisions', 'measured', `${precisions.join(', ')}; ${count} CUDA kernels`);
}
