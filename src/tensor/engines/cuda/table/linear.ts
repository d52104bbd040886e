import { type CudaKernel, columnsOf, type DeviceTensor, rowsOf } from '../call.js';
import { columnSums } from './columns.js';
import { overAll } from './elementwise.js';
import { factor, matrixOf } from './halves.js';

/** Products by the library; bias and residual are in its own last pass. */
export const linear: Record<string, CudaKernel> = {
  MinillmMatMul(call) {
    const [a, given, bias, residual] = call.inputs as [
      DeviceTensor,
      DeviceTensor,
      DeviceTensor,
      DeviceTensor,
    ];
    const b = matrixOf(given, call.attrs.halves, call.attrs.columns);
    const [transposeA, transposeB] = [Boolean(call.attrs.transpose_a), Boolean(call.attrs.transpose_b)];
    const rows = transposeA ? columnsOf(a) : rowsOf(a);
    const inner = transposeA ? rowsOf(a) : columnsOf(a);
    const columns = transposeB ? b.shape[0]! : columnsOf(b);
    const y = call.out([rows, columns]);
    if (y.size === 0) return [y];
    if (inner === 0) {
      call.device.zero(y.address, 4 * y.size);
      return [y];
    }
    call.device.matMul({
      ...{ a: a.address, y: y.address, rows, columns, inner, transposeA, transposeB },
      ...(transposeA ? { b: b.address } : factor(call, b)),
      bias: call.attrs.has_bias ? bias.address : 0,
      residual: call.attrs.has_residual ? residual.address : 0,
    });
    return [y];
  },
  MinillmLinearGelu(call) {
    const [x, given, bias] = call.inputs as [DeviceTensor, DeviceTensor, DeviceTensor];
    const w = matrixOf(given, call.attrs.halves, call.attrs.columns);
    const [rows, inner, columns] = [rowsOf(x), columnsOf(x), columnsOf(w)];
    const withSlope = Boolean(call.attrs.with_slope);
    const [y, slope] = [call.out([rows, columns]), call.out([withSlope ? rows : 0, columns])];
    if (y.size === 0) return [y, slope];
    const operands = { a: x.address, y: y.address, rows, columns, inner };
    call.device.matMul({ ...operands, ...factor(call, w), bias: bias.address });
    overAll(call, 'elementwise_gelu_slope', [y.address, y.address, withSlope ? slope.address : 0], y.size);
    return [y, slope];
  },
  MinillmGeluLinearGrad(call) {
    const [dy, given, slope] = call.inputs as [DeviceTensor, DeviceTensor, DeviceTensor];
    const w = matrixOf(given, call.attrs.halves, call.attrs.columns);
    const [rows, inner, columns] = [rowsOf(dy), columnsOf(dy), w.shape[0]!];
    const du = call.out([rows, columns]);
    if (du.size === 0) return [du];
    const operands = { a: dy.address, y: du.address, rows, columns, inner };
    call.device.matMul({ ...operands, ...factor(call, w), transposeB: true });
    overAll(call, 'elementwise_multiply', [du.address, slope.address, du.address], du.size);
    return [du];
  },
  MinillmWeightGrads(call) {
    const [x, dy] = call.inputs as [DeviceTensor, DeviceTensor];
    const [rows, inner, columns] = [columnsOf(x), rowsOf(x), columnsOf(dy)];
    const dw = call.out([rows, columns]);
    if (inner === 0) call.device.zero(dw.address, 4 * dw.size);
    else
      call.device.matMul({
        ...{ a: x.address, b: dy.address, y: dw.address, rows, columns, inner },
        transposeA: true,
      });
    return [dw, columnSums(call, dy.address, inner, columns)];
  },
  MinillmColumnSums(call) {
    const [x] = call.inputs as [DeviceTensor];
    return [columnSums(call, x.address, rowsOf(x), columnsOf(x))];
  },
};
