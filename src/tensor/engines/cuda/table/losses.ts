import { type CudaKernel, columnsOf, type DeviceTensor, rowsOf } from '../call.js';
import { factor, matrixOf } from './halves.js';
import { threadsFor } from './norms.js';

/** Logits that scoring holds at once: a quarter of a gigabyte. */
const BUDGET = 1 << 26;

export const losses: Record<string, CudaKernel> = {
  MinillmTokenLogprob(call) {
    const [logits, ids] = call.inputs as [DeviceTensor, DeviceTensor];
    const [rows, width] = [rowsOf(logits), columnsOf(logits)];
    const [y, norms] = [call.out([rows]), call.out([rows, 2])];
    const args = [logits.address, ids.address, y.address, norms.address, width];
    if (rows > 0) call.device.launch('losses_token', rows, threadsFor(width), args);
    return [y, norms];
  },
  MinillmTokenLogprobGrad(call) {
    const [dy, logits, ids, norms] = call.inputs as [DeviceTensor, DeviceTensor, DeviceTensor, DeviceTensor];
    const [rows, width] = [rowsOf(logits), columnsOf(logits)];
    const dLogits = call.out([rows, width]);
    const args = [dy.address, logits.address, ids.address, norms.address, dLogits.address, width];
    if (rows > 0) call.device.launch('losses_token_backward', rows, threadsFor(width), args);
    return [dLogits];
  },
  MinillmHeadLogprob(call) {
    const [states, given, ids] = call.inputs as [DeviceTensor, DeviceTensor, DeviceTensor];
    const head = matrixOf(given, call.attrs.halves, call.attrs.columns);
    const transposeB = Boolean(call.attrs.transposed);
    const [rows, inner] = [rowsOf(states), columnsOf(states)];
    const width = transposeB ? head.shape[0]! : columnsOf(head);
    const y = call.out([rows]);
    const most = Math.max(1, Math.min(rows, Math.floor(BUDGET / width)));
    const logits = call.scratch(4 * most * width);
    const right = factor(call, head);
    for (let from = 0; from < rows; from += most) {
      const count = Math.min(most, rows - from);
      const operands = { a: states.address + 4 * from * inner, ...right, y: logits };
      call.device.matMul({ ...operands, rows: count, columns: width, inner, transposeB });
      const args = [logits, ids.address + 4 * from, y.address + 4 * from, 0, width];
      call.device.launch('losses_token', count, threadsFor(width), args);
    }
    return [y];
  },
  MinillmDivergence(call) {
    const [student, teacher] = call.inputs as [DeviceTensor, DeviceTensor];
    const [rows, width] = [rowsOf(student), columnsOf(student)];
    const [y, norms] = [call.out([rows]), call.out([rows, 6])];
    const args = [student.address, teacher.address, y.address, norms.address, width, call.attrs.kind!];
    if (rows > 0) call.device.launch('losses_divergence', rows, threadsFor(width), args);
    return [y, norms];
  },
  MinillmDivergenceGrad(call) {
    const [dy, student, teacher, , norms] = call.inputs as DeviceTensor[] & { length: 5 };
    const [rows, width] = [rowsOf(student!), columnsOf(student!)];
    const out = call.out([rows, width]);
    const args = [dy, student, teacher, norms, out].map((x) => x!.address);
    if (rows > 0)
      call.device.launch('losses_divergence_backward', rows, threadsFor(width), [
        ...args,
        width,
        call.attrs.kind!,
      ]);
    return [out];
  },
};
