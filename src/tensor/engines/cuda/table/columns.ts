import { blocksOf, type Call, type DeviceTensor } from '../call.js';

/** Rows that one thread adds up; the sums of chunks are then added in their order. */
export const CHUNK = 64;
export const COLUMNS = 128;

/** Σ over chunks of parts[chunk · stride + offset + c], into y. */
export function totalOfChunks(
  { device }: Call,
  parts: number,
  y: DeviceTensor,
  { chunks, stride }: { chunks: number; stride: number },
): void {
  const args = [parts, y.address, chunks, y.size, stride];
  device.launch('norms_columns_total', blocksOf(y.size, COLUMNS), COLUMNS, args);
}

/** The sums of the columns of x [rows, width]. */
export function columnSums(call: Call, x: number, rows: number, width: number): DeviceTensor {
  const y = call.out([width]);
  const chunks = blocksOf(rows, CHUNK);
  const parts = call.scratch(4 * chunks * width);
  if (width === 0) return y;
  const grid = [blocksOf(width, COLUMNS), chunks];
  call.device.launch('norms_columns_chunk', grid, COLUMNS, [x, parts, rows, width, CHUNK]);
  totalOfChunks(call, parts, y, { chunks, stride: width });
  return y;
}
