import { existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { initBackend, precisions } from '../../src/tensor/backend.js';
import { BUILT, kernelFiles, kernelSources } from '../../src/tensor/engines/cuda/kernelSources.js';
import { loadCuda } from '../../src/tensor/engines/cuda/loadCuda.js';
import { oneLine, tell } from './rows.js';

const require = createRequire(import.meta.url);

/** The part `engine`: opens the card, and says what it is. Nothing else runs where this fails. */
export async function engine(): Promise<void> {
  dropForeignAddon();
  const started = performance.now();
  const { engine } = await initBackend({ backend: 'cuda' });
  const { info } = await loadCuda({ emulated: Boolean(process.env.MINILLM_CUDA_EMULATOR) });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const memory = info.emulated ? '' : `, sm_${info.architecture}, ${(info.totalBytes / 1e9).toFixed(0)} GB`;
  tell('opens', 'ok', `${engine}${memory}; ${seconds} s; Node ${process.versions.node}`);
  const count = kernelSources(kernelFiles()).size;
  tell('precisions', 'measured', `${precisions.join(', ')}; ${count} CUDA kernels`);
}

/** The addon that a pack brings may ask for a newer C library than this machine has; without it the engine compiles its own. */
function dropForeignAddon(): void {
  const brought = join(BUILT, 'cuda.node');
  if (!existsSync(brought)) return;
  try {
    require(brought);
  } catch (error) {
    rmSync(brought);
    tell('the packed addon', 'skipped', `does not load here, another is compiled: ${oneLine(error)}`);
  }
}
