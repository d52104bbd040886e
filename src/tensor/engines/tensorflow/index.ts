import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../../kernels.js';
import { namedKernels } from '../named.js';

/** The part of the native backend that runs any TensorFlow operation by name. */
interface NativeBackend {
  executeSingleOutput(name: string, attrs: unknown[], inputs: tf.TensorInfo[]): tf.Tensor;
  executeMultipleOutputs(name: string, attrs: unknown[], inputs: tf.TensorInfo[], count: number): tf.Tensor[];
}

// TF_AttrType and TF_DataType of TensorFlow's C interface.
const INT = 1;
const FLOAT = 2;
const TYPE = 4;
const FLOAT32 = 1;
const INT32 = 3;

const floats = new Set(['eps', 'a', 'b', 'c', 'k']);
const backend = (): NativeBackend => tf.backend() as unknown as NativeBackend;
const typed = (value: number) => ({ name: 'T', type: TYPE, value });
const typeOf = (x: tf.Tensor) => typed(x.dtype === 'int32' ? INT32 : FLOAT32);

/** Our C++ kernels as operations of TensorFlow (kernels/). Each is one call of the addon. */
export const tensorflowKernels: Kernels = namedKernels({
  run(name, attrs, inputs, results) {
    const list: unknown[] = Object.entries(attrs).map(([name, value]) => ({
      name,
      type: floats.has(name) ? FLOAT : INT,
      value,
    }));
    // An operation that takes a 16-bit matrix has a type for it: those come as int32.
    if ('halves' in attrs) list.push(typed(attrs.halves ? INT32 : FLOAT32));
    return results === 1
      ? [backend().executeSingleOutput(name, list, inputs)]
      : backend().executeMultipleOutputs(name, list, inputs, results);
  },
  writeRows: overwriteRows,
  copy: (x) => backend().executeSingleOutput('DeepCopy', [typeOf(x)], [x]),
  addresses(xs) {
    if (xs.length === 0) return [];
    if (xs.some(({ dataId }) => tf.backend().refCount(dataId) > 1)) return undefined;
    const attrs = [{ name: 'N', type: INT, value: xs.length }];
    const halves = tf.tidy(() =>
      backend().executeSingleOutput('MinillmAddresses', attrs, xs).dataSync<'int32'>(),
    );
    return xs.map((_, i) => (halves[2 * i]! >>> 0) + (halves[2 * i + 1]! >>> 0) * 2 ** 32);
  },
});

/** TensorFlow's own way to write rows of a tensor in place. The portable engine uses it too, on the native backend. */
export function overwriteRows(buffer: tf.Tensor2D, rows: Int32Array, values: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const inputs = [buffer, tf.tensor1d(rows, 'int32'), values];
    return backend().executeSingleOutput('InplaceUpdate', [typeOf(buffer)], inputs) as tf.Tensor2D;
  });
}

/** Whether the addon was compiled with our kernels. The official prebuilt one was not. */
export function kernelsCompiled(): boolean {
  const probe = tf.tensor2d([1], [1, 1]);
  try {
    backend().executeSingleOutput('MinillmColumnSums', [], [probe]).dispose();
    return true;
  } catch {
    return false;
  } finally {
    probe.dispose();
  }
}
