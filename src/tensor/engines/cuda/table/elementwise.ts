import { blocksOf, type Call, type CudaKernel, columnsOf, type DeviceTensor } from '../call.js';

export const THREADS = 256;

/** Queues a kernel with a thread for each of `size` numbers; its last argument is the size. */
export function overAll({ device }: Call, kernel: string, args: number[], size: number): void {
  if (size > 0) device.launch(kernel, blocksOf(size, THREADS), THREADS, [...args, size]);
}

export const elementwise: Record<string, CudaKernel> = {
  MinillmGelu(call) {
    const [x] = call.inputs as [DeviceTensor];
    const y = call.out(x.shape);
    overAll(call, 'elementwise_gelu', [x.address, y.address], x.size);
    return [y];
  },
  MinillmGeluGrad(call) {
    const [dy, x] = call.inputs as [DeviceTensor, DeviceTensor];
    const dx = call.out(x.shape);
    overAll(call, 'elementwise_gelu_backward', [dy.address, x.address, dx.address], x.size);
    return [dx];
  },
  MinillmSwiglu(call) {
    const [gate, up] = call.inputs as [DeviceTensor, DeviceTensor];
    const y = call.out(gate.shape);
    overAll(call, 'elementwise_swiglu', [gate.address, up.address, y.address], gate.size);
    return [y];
  },
  MinillmSwigluGrad(call) {
    const [dy, gate, up] = call.inputs as [DeviceTensor, DeviceTensor, DeviceTensor];
    const [dGate, dUp] = [call.out(gate.shape), call.out(gate.shape)];
    const args = [dy, gate, up, dGate, dUp].map(({ address }) => address);
    overAll(call, 'elementwise_swiglu_backward', args, gate.size);
    return [dGate, dUp];
  },
  MinillmRotary(call) {
    const [x, cos, sin] = call.inputs as [DeviceTensor, DeviceTensor, DeviceTensor];
    const y = call.out(x.shape);
    const { heads, sign } = call.attrs;
    const args = [x.address, cos.address, sin.address, y.address, heads!, columnsOf(cos), sign!];
    overAll(call, 'elementwise_rotary', args, x.size / 2);
    return [y];
  },
};
