import type { Device } from './device.js';

/** A tensor's memory on the device, as a kernel sees it. */
export interface DeviceTensor {
  address: number;
  shape: readonly number[];
  /** float32 and int32 take four bytes, bool one. */
  dtype: 'float32' | 'int32' | 'bool';
  /** Numbers in it. */
  size: number;
}

/** One run of a kernel. Outputs and scratch memory are its engine's to give; what is scratch is free again afterwards. */
export interface Call {
  device: Device;
  attrs: Readonly<Record<string, number>>;
  inputs: readonly DeviceTensor[];
  /** The numbers of an input, where the processor has them too: small tensors that were made from numbers. */
  known(input: number): ArrayLike<number> | undefined;
  /** Memory for a result, not initialised. */
  out(shape: readonly number[], dtype?: DeviceTensor['dtype']): DeviceTensor;
  /** The address of memory that is needed during this call only, not initialised. */
  scratch(bytes: number): number;
}

/** A kernel of the table: queues its work and returns its results in order. */
export type CudaKernel = (call: Call) => DeviceTensor[];

/** Blocks of `width` threads that cover `count` things. */
export const blocksOf = (count: number, width: number): number => Math.max(1, Math.ceil(count / width));

/** The last dimension of a tensor, and what is before it. */
export const columnsOf = ({ shape }: DeviceTensor): number => shape[shape.length - 1] ?? 1;
export const rowsOf = (x: DeviceTensor): number => (columnsOf(x) === 0 ? 0 : x.size / columnsOf(x));
