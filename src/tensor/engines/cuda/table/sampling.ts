import { type CudaKernel, columnsOf, type DeviceTensor, rowsOf } from '../call.js';

export const sampling: Record<string, CudaKernel> = {
  MinillmSample(call) {
    const [student, teacher, uniforms, settings] = call.inputs as DeviceTensor[] & { length: 4 };
    const { vocab, top_k: topK } = call.attrs;
    const rows = rowsOf(student!);
    const records = call.out([7, rows]);
    if (rows === 0) return [records];
    const taught = teacher!.size > 0;
    const mixtures = call.scratch(4 * rows * vocab!);
    call.device.launch('sampling_draw', rows, Math.min(1024, Math.ceil(vocab! / 32) * 32), [
      ...[student!.address, taught ? teacher!.address : 0, uniforms!.address, settings!.address],
      ...[
        mixtures,
        records.address,
        vocab!,
        columnsOf(student!),
        taught ? columnsOf(teacher!) : 0,
        topK!,
        rows,
      ],
    ]);
    return [records];
  },
};
