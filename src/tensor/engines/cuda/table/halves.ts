import { blocksOf, type Call, type DeviceTensor } from '../call.js';
import type { Product } from '../device.js';
import { THREADS } from './elementwise.js';

/** A matrix that may be of 16 bits (tensor/halves.ts); shape and size are those of the numbers that it means. */
export interface Matrix extends DeviceTensor {
  /** 0 float32, 1 bfloat16, 2 float16. */
  kind: number;
}

export function matrixOf(x: DeviceTensor, kind = 0, columns = 0): Matrix {
  if (kind === 0) return { ...x, kind };
  const rows = x.shape[0]!;
  return { ...x, shape: [rows, columns], size: rows * columns, kind };
}

/** Numbers in memory from one row to the next. */
const strideOf = ({ kind, shape }: Matrix): number => (kind === 0 ? shape[1]! : 2 * Math.ceil(shape[1]! / 2));

/** Whether a product needs a float32 copy of it. */
export function isWidened({ device }: Call, { kind, shape }: Matrix): boolean {
  const asItIs = kind === 1 && device.precision === 'bfloat16' && shape[1]! % 2 === 0;
  return kind !== 0 && !asItIs;
}

/**
 * The right side of a product: the matrix itself where it is float32, or where products are of bfloat16 and so is it; else a float32 copy
 * for this call.
 *
 * @param room where the copy goes, for who has many after one another
 */
export function factor(call: Call, w: Matrix, room?: number): Pick<Product, 'b' | 'weights' | 'bfloat16B'> {
  if (w.kind === 0) return { b: w.address, weights: true };
  if (!isWidened(call, w)) return { b: w.address, bfloat16B: true };
  const b = room ?? call.scratch(4 * w.size);
  const args = [w.address, b, w.shape[1]!, strideOf(w), w.kind, w.size];
  if (w.size > 0) call.device.launch('gather_widen', blocksOf(w.size, THREADS), THREADS, args);
  return { b };
}

/** y[n] = x[rows[n]], or with `add` added to what is there. @param rows address of `count` ids */
export function widenRows(call: Call, x: Matrix, rows: number, y: number, count: number, add = false): void {
  const size = count * x.shape[1]!;
  if (size === 0) return;
  const args = [x.address, rows, y, x.shape[0]!, x.shape[1]!, strideOf(x), x.kind, Number(add), size];
  call.device.launch('gather_rows_widened', blocksOf(size, THREADS), THREADS, args);
}
