/** Excess accumulated error by response position; entry l−1 belongs to the first l tokens. */
export interface ExposureBias {
  /** R(l): mean forward KL over the first l steps along the student's own samples, nats per token. */
  studentError: number[];
  /** ε(l): the same along the teacher's samples. */
  teacherError: number[];
  /** (R(l) − ε(l)) / ε(l) · 100, in percent; null where ε(l) = 0. 0: no exposure bias. */
  excessPercent: (number | null)[];
}

/** Mean over the rows that still run at each step, then the running mean over steps; as long as some row runs. */
function cumulativeMean(rows: readonly ArrayLike<number>[]): number[] {
  const steps = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const result: number[] = [];
  let sum = 0;
  for (let t = 0; t < steps; t++) {
    const alive = rows.filter((row) => row.length > t);
    sum += alive.reduce((s, row) => s + row[t]!, 0) / alive.length;
    result.push(sum / (t + 1));
  }
  return result;
}

/**
 * ExAccErr(l) = (R(l) − ε(l)) / ε(l) · 100 %, both the cumulative mean of KL(p‖q) at every state of the first l steps:
 * R on the student's samples, ε on the teacher's.
 * Source: Arora et al., "Why Exposure Bias Matters", 2022; MiniLLM, arXiv 2306.08543, section 3.3.
 *
 * A row holds the forward KL over the whole vocabulary at each response step, the first one included (the reference
 * script leaves that one out). Rows end where their sample ended: a step averages the samples that reached it.
 * The result is as long as the longest sample of the side that stops first.
 */
export function exposureBias(
  onStudent: readonly ArrayLike<number>[],
  onTeacher: readonly ArrayLike<number>[],
): ExposureBias {
  const student = cumulativeMean(onStudent);
  const teacher = cumulativeMean(onTeacher);
  const length = Math.min(student.length, teacher.length);
  return {
    studentError: student.slice(0, length),
    teacherError: teacher.slice(0, length),
    excessPercent: teacher.slice(0, length).map((e, i) => (e === 0 ? null : ((student[i]! - e) / e) * 100)),
  };
}
