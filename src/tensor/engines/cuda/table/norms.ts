import { blocksOf, type Call, type CudaKernel, columnsOf, type DeviceTensor, rowsOf } from '../call.js';
import { CHUNK, COLUMNS, totalOfChunks } from './columns.js';

/** Threads of a block that works on a row of this width. */
export const threadsFor = (width: number): number =>
  width <= 64 ? 32 : width <= 512 ? 128 : width <= 4096 ? 256 : 1024;

export const norms: Record<string, CudaKernel> = {
  MinillmLayerNorm(call) {
    const [x, gain, bias] = call.inputs as [DeviceTensor, DeviceTensor, DeviceTensor];
    const [rows, width] = [rowsOf(x), columnsOf(x)];
    const [y, stats] = [call.out([rows, width]), call.out([rows, 2])];
    const args = [x.address, gain.address, bias.address, y.address, stats.address, width, call.attrs.eps!];
    if (rows > 0) call.device.launch('norms_layer_forward', rows, threadsFor(width), args);
    return [y, stats];
  },
  MinillmRmsNorm(call) {
    const [x, gain] = call.inputs as [DeviceTensor, DeviceTensor];
    const [rows, width] = [rowsOf(x), columnsOf(x)];
    const [y, stats] = [call.out([rows, width]), call.out([rows])];
    const args = [x.address, gain.address, y.address, stats.address, width, call.attrs.eps!];
    if (rows > 0) call.device.launch('norms_rms_forward', rows, threadsFor(width), args);
    return [y, stats];
  },
  MinillmLayerNormGrad: (call) => backward(call, true),
  MinillmRmsNormGrad: (call) => backward(call, false),
};

function backward(call: Call, centred: boolean): DeviceTensor[] {
  const [dy, x, gain, stats, residual] = call.inputs as DeviceTensor[] & { length: 5 };
  const [rows, width] = [rowsOf(x!), columnsOf(x!)];
  const [dx, dGain, dBias] = [call.out([rows, width]), call.out([width]), call.out([width])];
  const chunks = blocksOf(rows, CHUNK);
  const parts = call.scratch(8 * chunks * width);
  const more = call.attrs.has_residual ? residual!.address : 0;
  const flag = Number(centred);
  if (rows > 0)
    call.device.launch('norms_backward', rows, threadsFor(width), [
      ...[dy!.address, x!.address, gain!.address, stats!.address, more, dx.address],
      ...[width, flag],
    ]);
  call.device.launch('norms_weights_chunk', [blocksOf(width, COLUMNS), chunks], COLUMNS, [
    ...[dy!.address, x!.address, stats!.address, parts, rows, width, CHUNK],
    flag,
  ]);
  totalOfChunks(call, parts, dGain, { chunks, stride: 2 * width });
  totalOfChunks(call, parts + 4 * width, dBias, { chunks, stride: 2 * width });
  return centred ? [dx, dGain, dBias] : [dx, dGain];
}
