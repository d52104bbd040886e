import { type CudaKernel, columnsOf, type DeviceTensor, rowsOf } from '../call.js';
import { threadsFor } from './norms.js';

export const mixtures: Record<string, CudaKernel> = {
  MinillmMixture(call) {
    const [student, teacher] = call.inputs as [DeviceTensor, DeviceTensor];
    const [rows, width] = [rowsOf(student), columnsOf(student)];
    const [y, centre, norms] = [call.out([rows]), call.out([rows]), call.out([rows, 4])];
    const { a, b, c, k, kind } = call.attrs;
    const args = [student, teacher, y, centre, norms].map(({ address }) => address);
    if (rows > 0)
      call.device.launch('losses_mixture', rows, threadsFor(width), [...args, width, a!, b!, c!, k!, kind!]);
    return [y, centre, norms];
  },
  MinillmMixtureGrad(call) {
    const [dy, student, teacher, centre, norms] = call.inputs as DeviceTensor[] & { length: 5 };
    const [rows, width] = [rowsOf(student!), columnsOf(student!)];
    const out = call.out([rows, width]);
    const { b, c, k, kind } = call.attrs;
    const args = [dy, student, teacher, centre, norms, out].map((x) => x!.address);
    if (rows > 0)
      call.device.launch('losses_mixture_backward', rows, threadsFor(width), [
        ...args,
        ...[width, b!, c!, k!, kind!],
      ]);
    return [out];
  },
};
