import { blocksOf, type CudaKernel, type DeviceTensor } from '../call.js';
import { overAll, THREADS } from './elementwise.js';

/** Numbers that a block squares and adds. */
const EACH = 1 << 14;

export const optimizer: Record<string, CudaKernel> = {
  MinillmSquaredNorm(call) {
    const y = call.out([]);
    const blocks = call.inputs.map(({ size }) => (size === 0 ? 0 : blocksOf(size, EACH)));
    const count = blocks.reduce((sum, n) => sum + n, 0);
    const parts = call.scratch(8 * Math.max(1, count));
    let done = 0;
    call.inputs.forEach((x, i) => {
      if (blocks[i] === 0) return;
      const args = [x.address, parts + 8 * done, x.size, EACH];
      call.device.launch('optimizer_squares', blocks[i]!, THREADS, args);
      done += blocks[i]!;
    });
    call.device.launch('optimizer_total', 1, 1024, [parts, y.address, count]);
    return [y];
  },
  MinillmAddScaled(call) {
    const count = call.attrs.N!;
    const weight = call.inputs[2 * count]!;
    return call.inputs.slice(0, count).map((total, i) => {
      const y = call.out(total.shape);
      const args = [total.address, call.inputs[count + i]!.address, weight.address, y.address];
      overAll(call, 'optimizer_add_scaled', args, y.size);
      return y;
    });
  },
  MinillmAdamW(call) {
    const count = call.attrs.N!;
    const [decay, settings] = call.inputs.slice(4 * count) as [DeviceTensor, DeviceTensor];
    for (let i = 0; i < count; i++) {
      const [p, m, v, g] = [0, 1, 2, 3].map((list) => call.inputs[list * count + i]!.address);
      const args = [p!, m!, v!, g!, decay.address, i, settings.address];
      overAll(call, 'optimizer_adamw', args, call.inputs[i]!.size);
      call.device.written(p!);
    }
    return [call.out([])];
  },
};
