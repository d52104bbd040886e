import { type CudaKernel, columnsOf, type DeviceTensor, rowsOf } from '../call.js';

export const sampling: Record<string, CudaKernel> = {
  MinillmSample(call) {
    const [student, teacher, uniforms, settings, starts, ids, factors] = call.inputs as DeviceTensor[] & {
      length: 7;
    };
    const { vocab, top_k: topK } = call.attrs;
    const rows = rowsOf(student!);
    const records = call.out([7, rows]);
    if (rows === 0) return [records];
    const taught = teacher!.size > 0;
    const edited = ids!.size > 0;
    const mixtures = call.scratch(4 * rows * vocab! * (edited ? 3 : 1));
    call.device.launch('sampling_draw', rows, Math.min(1024, Math.ceil(vocab! / 32) * 32), [
      ...[student!.address, taught ? teacher!.address : 0, uniforms!.address, settings!.address],
      ...(edited ? [starts!.address, ids!.address, factors!.address] : [0, 0, 0]),
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
