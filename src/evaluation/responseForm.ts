/**
 * The outward form of responses: what a student can change to lower the reverse KL without getting better, for the
 * divergence of a response is a sum over its tokens. Each with how far from the teacher's it may be before it is worth a
 * notice: a share of the teacher's value, or an absolute share of responses. Thresholds for looking, not a test.
 */
export const responseForms = {
  length: { called: 'the response length', of: 'teacher', by: 0.2 },
  ended: { called: 'the share that ends by itself', of: 'one', by: 0.1 },
  repetition: { called: 'the share of repeated 4-grams', of: 'one', by: 0.05 },
  empty: { called: 'the share of empty answers', of: 'one', by: 0.05 },
  sample_diversity: { called: 'the diversity of samples', of: 'one', by: 0.1 },
} as const satisfies Record<string, { called: string; of: 'teacher' | 'one'; by: number }>;

export type ResponseForm = keyof typeof responseForms;
export const responseFormNames = Object.keys(responseForms) as ResponseForm[];

/** Whether a value is outside the tolerance around the teacher's, and farther from it than where the student began. */
export function hasDrifted(form: ResponseForm, value: number, teacher: number, start?: number): boolean {
  const { of, by } = responseForms[form];
  const gap = Math.abs(value - teacher);
  if (gap <= by * (of === 'teacher' ? Math.abs(teacher) : 1)) return false;
  return start === undefined || gap > Math.abs(start - teacher);
}
