import { blocksOf, type CudaKernel, columnsOf, type DeviceTensor } from '../call.js';
import { THREADS } from './elementwise.js';
import { matrixOf, widenRows } from './halves.js';

/** Keys that one block sorts in shared memory: 64 kB, which every card since Ampere has. More rows than that are added chunk after chunk. */
const MOST = 1 << 13;

export const gather: Record<string, CudaKernel> = {
  MinillmGatherRows(call) {
    const [given, rows] = call.inputs as [DeviceTensor, DeviceTensor];
    const x = matrixOf(given, call.attrs.halves, call.attrs.columns);
    const width = columnsOf(x);
    // On the device an index is cut to the table; here, where it costs nothing, it is an error.
    for (const row of Array.from(call.known(1) ?? []))
      if (!(row >= 0 && row < x.shape[0]!)) throw new RangeError(`index ${row} of ${x.shape[0]} rows`);
    const y = call.out([rows.size, width]);
    if (y.size === 0) return [y];
    if (x.kind !== 0) {
      widenRows(call, x, rows.address, y.address, rows.size);
      return [y];
    }
    const args = [x.address, rows.address, y.address, x.shape[0]!, width, y.size];
    call.device.launch('gather_rows', blocksOf(y.size, THREADS), THREADS, args);
    return [y];
  },
  MinillmGatherRowsGrad(call) {
    const [dy, rows] = call.inputs as [DeviceTensor, DeviceTensor];
    const width = columnsOf(dy);
    const count = call.attrs.count!;
    const dx = call.out([count, width]);
    if (dx.size > 0) call.device.zero(dx.address, 4 * dx.size);
    for (let from = 0; from < rows.size && width > 0; from += MOST) {
      const used = Math.min(MOST, rows.size - from);
      const capacity = 2 ** Math.ceil(Math.log2(Math.max(2, used)));
      const keys = call.scratch(8 * capacity);
      const threads = Math.min(1024, Math.max(32, capacity / 2));
      const sort = [rows.address, keys, from, used, capacity];
      call.device.launch('gather_sort', 1, threads, sort, 8 * capacity);
      const grid = [used, blocksOf(width, THREADS)];
      call.device.launch('gather_sum', grid, THREADS, [dy.address, keys, dx.address, used, count, width]);
    }
    return [dx];
  },
};
