import type { MetricName } from '../evaluation/evaluationMetrics.js';
import type { Summary } from '../evaluation/metrics/statistics.js';
import { hasDrifted, type ResponseForm, responseForms } from '../evaluation/responseForm.js';
import type { MetricsRow } from './metricsLog.js';

/** The forms of responses that every validation can see, one with a single sample of each prompt too. */
export const watchedForms = ['length', 'ended', 'empty', 'repetition'] as const satisfies (ResponseForm &
  MetricName)[];

type Means = Partial<Record<string, number>>;
type Summaries = Partial<Record<string, Pick<Summary, 'mean'>>>;

/** Below this share of what it was at the first validation, the reverse KL has fallen. */
const FALLEN = 0.9;

/**
 * Looks for reward hacking while a run trains: the reverse KL per response has fallen by a tenth since the first validation
 * while the form of the responses left the teacher's (evaluation/responseForm.ts). Every form is spoken of once.
 */
export class DriftWatch {
  private first: Means | undefined;
  private teacherForm: Means | undefined;
  private readonly told = new Set<string>();

  /** Takes up what an interrupted run had logged. */
  static from(rows: readonly MetricsRow[]): DriftWatch {
    const watch = new DriftWatch();
    const row = rows.find(({ phase }) => phase === 'valid');
    const logged = (prefix: string): Means | undefined => {
      const found = Object.entries(row ?? {}).flatMap(([name, value]): [string, number][] =>
        name.startsWith(prefix) && typeof value === 'number' ? [[name.slice(prefix.length), value]] : [],
      );
      return found.length > 0 ? Object.fromEntries(found) : undefined;
    };
    watch.first = logged('valid_');
    watch.teacherForm = logged('teacher_');
    return watch;
  }

  get knowsTeacher(): boolean {
    return this.teacherForm !== undefined;
  }

  teacher(form: Summaries): void {
    this.teacherForm = means(form);
  }

  /** The forms that have drifted by this validation, and a sentence for each that had not before. */
  look(metrics: Summaries): { drifted: ResponseForm[]; warnings: string[] } {
    const now = means(metrics);
    this.first ??= now;
    const [before, kl] = [this.first.reverse_kl_seq, now.reverse_kl_seq];
    const teacher = this.teacherForm;
    if (!teacher || before === undefined || kl === undefined || kl > FALLEN * before) {
      return { drifted: [], warnings: [] };
    }
    const drifted = watchedForms.filter(
      (form) =>
        now[form] !== undefined &&
        teacher[form] !== undefined &&
        hasDrifted(form, now[form], teacher[form], this.first![form]),
    );
    const fresh = drifted.filter((form) => !this.told.has(form));
    for (const form of fresh) this.told.add(form);
    const from = (form: ResponseForm): string =>
      this.first![form] === undefined ? '' : `from ${this.first![form].toPrecision(3)} `;
    return {
      drifted,
      warnings: fresh.map(
        (form) =>
          `look closer: reverse KL per response fell from ${before.toPrecision(3)} to ${kl.toPrecision(3)} nats while ` +
          `${responseForms[form].called} went ${from(form)}to ${now[form]!.toPrecision(3)} (teacher ${teacher[form]!.toPrecision(3)}): ` +
          'part of it may be bought with the form of the responses',
      ),
    };
  }
}

function means(metrics: Summaries): Means {
  return Object.fromEntries(Object.entries(metrics).map(([name, summary]) => [name, summary?.mean]));
}
