import { createRequire } from 'node:module';
import * as tf from '@tensorflow/tfjs-core';
import { serve } from '../../kernels.js';
import { namedKernels, type RunNamed } from '../named.js';
import { BACKEND, CudaBackend } from './backend.js';
import type { Device, DeviceInfo, Precision } from './device.js';
import { cudaKernels } from './kernelTable.js';
import type { ChosenLibraries } from './note.js';
import { openCuda, openEmulator } from './openDevice.js';
import { createRun } from './run.js';
import { registerTfjs } from './tfjs.js';

/** The engine once it serves: what runs it, and the table's kernels by name. */
export interface LoadedCuda {
  info: DeviceInfo;
  device: Device;
  run: RunNamed;
}

const require = createRequire(import.meta.url);

let loaded: { emulated: boolean; engine: LoadedCuda } | undefined;

/**
 * Opens a card (or the emulator), and makes TensorFlow.js compute there. The device is opened once in a process; later calls
 * only make it the active backend again.
 *
 * @param options.seed of the emulator's order of threads @param options.precision of products, where the device has a choice
 * @param options.libraries of CUDA, where they are not those of `setup --gpu`
 * @throws an error in one line where there is no card, or one of its libraries is missing
 */
export async function loadCuda(
  options: { emulated?: boolean; seed?: number; precision?: Precision; libraries?: ChosenLibraries } = {},
): Promise<LoadedCuda> {
  const { emulated = false, seed, precision, libraries } = options;
  if (loaded && loaded.emulated !== emulated) {
    throw new Error(`this process computes on ${loaded.engine.info.name} already`);
  }
  if (!loaded) {
    const device = emulated
      ? await openEmulator(seed === undefined ? {} : { seed })
      : await openCuda(libraries ? { libraries } : {});
    loaded = { emulated, engine: serveDevice(device) };
  }
  if (precision) loaded.engine.device.precision = precision;
  if (!(await tf.setBackend(BACKEND))) throw new Error('the backend did not initialise');
  return loaded.engine;
}

/** Registers the backend on a device. */
function serveDevice(device: Device): LoadedCuda {
  require('@tensorflow/tfjs'); // the union registers the gradients, which the core alone does not
  registerTfjs();
  const backend = new CudaBackend(device);
  tf.registerBackend(BACKEND, () => backend);
  const run = createRun(device, backend, cudaKernels);
  serve(
    BACKEND,
    'cuda',
    namedKernels({
      run,
      writeRows: (buffer, rows, values) =>
        tf.tidy(
          () =>
            run('MinillmWriteRows', {}, [buffer, tf.tensor1d(rows, 'int32'), values], 1)[0] as tf.Tensor2D,
        ),
      copy: (x) => run('MinillmCopy', {}, [x], 1)[0]!,
      addresses: () => undefined,
    }),
  );
  return { info: device.info, device, run };
}
