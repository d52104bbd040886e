import * as tf from '@tensorflow/tfjs-core';
import type { RunNamed } from '../named.js';
import type { CudaBackend } from './backend.js';
import { blocksOf, type CudaKernel, columnsOf, type DeviceTensor, rowsOf } from './call.js';
import type { Device } from './device.js';
import { describe, result, THREADS } from './tfjsKernel.js';

/** Writes rows of a buffer in place; and a copy with memory of its own. */
const inPlace: Record<string, CudaKernel> = {
  /** buffer[rows[n]] = values[n]. The result is another handle on the buffer. */
  MinillmWriteRows({ device, inputs: [buffer, rows, values] }) {
    if (values!.size > 0) {
      const args = [buffer!.address, rows!.address, values!.address, values!.size, columnsOf(buffer!)];
      const blocks = blocksOf(values!.size, THREADS);
      device.launch('tfjs_write_rows', blocks, THREADS, [...args, rowsOf(buffer!)]);
      device.written(buffer!.address);
    }
    return [buffer!];
  },
  MinillmCopy({ device, inputs: [x], out }) {
    const y = out(x!.shape, x!.dtype);
    if (x!.size > 0) device.copy(y.address, x!.address, x!.size * (x!.dtype === 'bool' ? 1 : 4));
    return [y];
  },
};

/**
 * Runs kernels of a table on tensors of the backend. Results are new tensors, or other handles on inputs that a kernel wrote
 * to in place; what a kernel took besides is free again when it returns.
 */
export function createRun(
  device: Device,
  backend: CudaBackend,
  table: Readonly<Record<string, CudaKernel>>,
): RunNamed {
  return (name, attrs, inputs, results) => {
    /** Memory that this call took, by address; what becomes a tensor leaves the list. */
    const taken = new Set<number>();
    const infos: tf.TensorInfo[] = [];
    try {
      const kernel = inPlace[name] ?? table[name];
      if (!kernel) throw new Error('the cuda engine has no such kernel');
      const known = inputs.map(({ dataId }) => backend.known(dataId));
      const given = inputs.map((input) => backend.onDevice(input));
      const returned = kernel({
        device,
        attrs,
        inputs: given,
        known: (input) => known[input],
        out(shape, dtype = 'float32') {
          const y = result(backend, shape, dtype);
          if (y.address !== 0) taken.add(y.address);
          return y;
        },
        scratch(bytes) {
          if (bytes <= 0) return 0;
          const address = device.alloc(bytes);
          taken.add(address);
          return address;
        },
      });
      if (returned.length < results) {
        throw new Error(`${results} results were expected, ${returned.length} given`);
      }
      for (const y of returned.slice(0, results)) infos.push(asTensor(y, given));
    } catch (error) {
      for (const { dataId } of infos) backend.disposeData(dataId);
      throw describe(name, inputs, error);
    } finally {
      for (const address of taken) device.free(address);
    }
    return infos.map((info) => tf.engine().makeTensorFromTensorInfo(info, backend));

    function asTensor(y: DeviceTensor, given: readonly DeviceTensor[]): tf.TensorInfo {
      if (y.address === 0 || taken.delete(y.address)) return backend.adopt(y);
      const at = given.findIndex(({ address }) => address === y.address);
      if (at < 0) throw new Error('a result is neither memory that the kernel took nor one of its inputs');
      return backend.alias(inputs[at]!, y.shape);
    }
  };
}
