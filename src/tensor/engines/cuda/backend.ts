import * as tf from '@tensorflow/tfjs-core';
import type { DeviceTensor } from './call.js';
import type { Device } from './device.js';

export type DType = DeviceTensor['dtype'];
export type Values = Float32Array | Int32Array | Uint8Array;

/** What `tf.setBackend` calls it. */
export const BACKEND = 'cuda';

/** Numbers up to here stay with the processor until a kernel asks for their address: many are read back, or pass as arguments. */
const SMALL = 1024;

/** The memory of one or more tensors: on the device, or a small one that is not there yet. */
interface Data {
  dtype: DType;
  size: number;
  refCount: number;
  /** 0 while `host` is set, and where there are no numbers. */
  address: number;
  host?: Values;
}

/** TensorFlow.js's memory on a device. What computes on it are the kernels of tfjs.ts and those of our table (run.ts). */
export class CudaBackend extends tf.KernelBackend {
  readonly #data: tf.DataStorage<Data>;

  constructor(readonly device: Device) {
    super();
    this.#data = new tf.DataStorage<Data>(this, tf.engine());
  }

  override write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): object {
    const dataId = {};
    this.move(dataId, values, shape, dtype, 1);
    return dataId;
  }

  override move(
    dataId: object,
    values: tf.backend_util.BackendValues | null,
    shape: number[],
    dtype: tf.DataType,
    refCount: number,
  ): void {
    const size = tf.util.sizeFromShape(shape);
    const type = deviceType(dtype);
    const data: Data = { dtype: type, size, refCount, address: 0 };
    if (values && size <= SMALL) {
      // A copy, for the caller may write to its array again.
      data.host = typed(values, type).slice(0, size);
    } else {
      try {
        data.address = this.allocate(size, type);
      } catch (error) {
        throw new Error(`cuda: a tensor [${shape}]: ${(error as Error).message}`, { cause: error });
      }
      if (values) this.device.upload(data.address, typed(values, type));
    }
    this.#data.set(dataId, data);
  }

  override readSync(dataId: object): Values {
    const { dtype, size, address, host } = this.#data.get(dataId);
    if (host) return host.slice();
    const values = emptyValues(dtype, size);
    if (size > 0) this.device.download(address, values);
    return values;
  }

  override async read(dataId: object): Promise<Values> {
    return this.readSync(dataId);
  }

  override refCount(dataId: object): number {
    return this.#data.has(dataId) ? this.#data.get(dataId).refCount : 0;
  }

  override incRef(dataId: object): void {
    this.#data.get(dataId).refCount++;
  }

  decRef(dataId: object): void {
    if (this.#data.has(dataId)) this.#data.get(dataId).refCount--;
  }

  override disposeData(dataId: object, force = false): boolean {
    if (!this.#data.has(dataId)) return true;
    const data = this.#data.get(dataId);
    data.refCount--;
    if (!force && data.refCount > 0) return false;
    if (data.address !== 0) this.device.free(data.address);
    this.#data.delete(dataId);
    return true;
  }

  override numDataIds(): number {
    return this.#data.numDataIds();
  }

  /** With the device's own figures beside what TensorFlow.js counts. */
  override memory(): { unreliable: boolean; device: ReturnType<Device['memory']> } {
    return { unreliable: false, device: this.device.memory() };
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override timerAvailable(): boolean {
    return true;
  }

  /** Not an async function, so that what `f` throws reaches the caller at once. */
  override time(f: () => void): Promise<{ kernelMs: number }> {
    this.device.synchronise();
    const start = performance.now();
    f();
    this.device.synchronise();
    return Promise.resolve({ kernelMs: performance.now() - start });
  }

  override dispose(): void {
    this.device.trim();
  }

  /** Memory for `size` numbers, the caller's to free. None where there are no numbers. */
  allocate(size: number, dtype: DType): number {
    return size === 0 ? 0 : this.device.alloc(size * bytesOf(dtype));
  }

  /** The numbers of a small tensor that has not gone to the device yet. */
  known(dataId: object): Values | undefined {
    return this.#data.get(dataId).host;
  }

  /** A tensor as kernels see it; a small one goes to the device now. */
  onDevice({ dataId, shape, dtype }: tf.TensorInfo): DeviceTensor {
    const data = this.#data.get(dataId);
    if (data.host) {
      data.address = this.allocate(data.size, data.dtype);
      if (data.size > 0) this.device.upload(data.address, data.host);
      delete data.host;
    }
    return { address: data.address, shape, dtype: deviceType(dtype), size: data.size };
  }

  /** The one number of a tensor that is not on the device yet: it need not go there. */
  number({ dataId }: tf.TensorInfo): number | undefined {
    const { host, size } = this.#data.get(dataId);
    return size === 1 ? host?.[0] : undefined;
  }

  /** Takes over memory that `allocate` gave. */
  adopt({ address, shape, dtype, size }: DeviceTensor): tf.TensorInfo {
    const dataId = {};
    this.#data.set(dataId, { dtype, size, refCount: 1, address });
    return { dataId, shape: [...shape], dtype };
  }

  /** Another handle on a tensor's memory, as reshaping gives. */
  alias({ dataId, dtype }: tf.TensorInfo, shape: readonly number[]): tf.TensorInfo {
    this.incRef(dataId);
    return { dataId, shape: [...shape], dtype };
  }
}

export const bytesOf = (dtype: DType): number => (dtype === 'bool' ? 1 : 4);

export function deviceType(dtype: tf.DataType): DType {
  if (dtype === 'float32' || dtype === 'int32' || dtype === 'bool') return dtype;
  throw new Error(`the cuda engine has no tensors of type ${dtype}: float32, int32 and bool only`);
}

function emptyValues(dtype: DType, size: number): Values {
  if (dtype === 'float32') return new Float32Array(size);
  return dtype === 'int32' ? new Int32Array(size) : new Uint8Array(size);
}

function typed(values: tf.backend_util.BackendValues, dtype: DType): Values {
  const Type = dtype === 'float32' ? Float32Array : dtype === 'int32' ? Int32Array : Uint8Array;
  return values instanceof Type ? values : Type.from(values as ArrayLike<number>);
}
