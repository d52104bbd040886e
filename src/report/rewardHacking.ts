import { hasDrifted, responseFormNames, responseForms } from '../evaluation/responseForm.js';
import { metricInfo } from './catalog.js';
import { type Entry, startOf } from './entries.js';
import { brief } from './format.js';
import type { Run } from './runs.js';
import { clearlyAbove } from './uncertainty.js';

/** What the page says about reward hacking. */
export interface HackingReport {
  /** One sentence each. Empty: no sign, as far as could be looked. */
  warnings: string[];
  /** What was compared with what, or why it could not be. */
  checked: string;
}

/** Names under which training logs the same quantities, best source first. */
const logged: Record<string, string[]> = {
  reverse_kl: ['valid_reverse_kl_token', 'valid_reverse_kl_seq', 'reverse_kl', 'reverse_kl_k3'],
  length: ['valid_length', 'response_length'],
  ended: ['valid_ended', 'ended'],
  repetition: ['valid_repetition', 'repetition'],
  empty: ['valid_empty', 'empty'],
};

/**
 * Looks for reverse KL that falls while the form of the responses leaves the teacher's: the sequence-level KL is a sum
 * over tokens, so that saying less, or the same again and again, lowers it without any gain in quality.
 *
 * Two looks. Evaluations: a student's reverse KL is clearly below the starting student's (uncertainty.ts), and its length,
 * share ended, repetition, emptiness or diversity is outside the tolerance around the teacher's, clearly apart from it,
 * and farther than the starting student's. Curves: from the first fifth of training to the last,
 * reverse KL falls by a tenth and a quantity moves away from the teacher's value (or, unknown, from its own start).
 */
export function findRewardHacking(entries: readonly Entry[]): HackingReport {
  const evaluated = entries.filter((entry) => Object.keys(entry.evaluation).length > 0);
  const teacher = evaluated.find((entry) => entry.isTeacher);
  const start = startOf(evaluated);
  const students = entries.filter((entry) => !entry.isTeacher);
  const looks: string[] = [];
  const warnings: string[] = [];
  if (teacher && start && students.length > 1) {
    looks.push(`every student’s evaluation with those of ${teacher.label} and ${start.label}`);
    for (const entry of students) if (entry !== start) warnings.push(...inEvaluation(entry, teacher, start));
  }
  const withCurves = students.flatMap((entry) =>
    entry.runs.filter((run) => shift(run, 'reverse_kl') !== undefined).map((run) => ({ entry, run })),
  );
  if (withCurves.length > 0) {
    looks.push(`the course of training of ${withCurves.map(({ run }) => run.label).join(', ')}`);
    for (const { entry, run } of withCurves) {
      if (!warnings.some((line) => line.startsWith(`${entry.label}: `)))
        warnings.push(...inTraining(run, teacher));
    }
  }
  const checked =
    looks.length > 0
      ? `Compared: ${looks.join('; ')}.`
      : 'Not checked: this needs evaluations of a student, its starting student and the teacher, or a logged reverse KL.';
  return { warnings, checked };
}

function shown(name: string, value: number): string {
  const { scale, unit } = metricInfo(name);
  return `${brief(value * scale)}${unit === '%' ? ' %' : unit ? ` ${unit}` : ''}`;
}

function inEvaluation(run: Entry, teacher: Entry, start: Entry): string[] {
  const name = ['reverse_kl_seq', 'reverse_kl_token'].find((n) => run.evaluation[n] && start.evaluation[n]);
  if (name === undefined || !clearlyAbove(start, run, name)) return [];
  return responseFormNames.flatMap((form) => {
    const [own, model, before] = [run, teacher, start].map((r) => r.evaluation[form]);
    if (!own || !model || !hasDrifted(form, own.mean, model.mean, before?.mean)) return [];
    if (!clearlyAbove(run, teacher, form) && !clearlyAbove(teacher, run, form)) return [];
    const kl = `${metricInfo(name).label.replace('Reverse', 'reverse')} is ${brief(run.evaluation[name]!.mean)} nats, below ${start.label}’s ${brief(start.evaluation[name]!.mean)}`;
    const drift = `${responseForms[form].called} is ${shown(form, own.mean)} (${teacher.label} ${shown(form, model.mean)}${before ? `, ${start.label} ${shown(form, before.mean)}` : ''})`;
    return [
      `${run.label}: ${kl}, but ${drift}. Part of the low divergence may be bought with the form of the responses.`,
    ];
  });
}

/** Means of the first and the last fifth of a logged quantity; undefined with fewer than two points. */
function shift(run: Run, quantity: string): { first: number; last: number } | undefined {
  for (const name of logged[quantity] ?? []) {
    const values = run.logged.flatMap((row) => (row.values[name] === undefined ? [] : [row.values[name]]));
    if (values.length < 2) continue;
    const fifth = Math.max(1, Math.floor(values.length / 5));
    const mean = (list: number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;
    return { first: mean(values.slice(0, fifth)), last: mean(values.slice(-fifth)) };
  }
  return undefined;
}

/** What the teacher's samples on the validation prompts are like, logged once at the beginning of a run. */
function loggedTeacher(run: Run, form: string): number | undefined {
  const name = `teacher_${form}`;
  return run.logged.find((row) => row.values[name] !== undefined)?.values[name];
}

function inTraining(run: Run, teacher: Run | undefined): string[] {
  const kl = shift(run, 'reverse_kl');
  if (!kl || kl.last > 0.9 * kl.first) return [];
  return responseFormNames.flatMap((form) => {
    const own = shift(run, form);
    if (!own) return [];
    // On its own validation prompts where the run logged them, else on the test prompts.
    const known = loggedTeacher(run, form) ?? teacher?.evaluation[form]?.mean;
    if (!hasDrifted(form, own.last, known ?? own.first, own.first)) return [];
    const from =
      known === undefined ? '' : `, away from ${teacher?.label ?? 'the teacher'}’s ${shown(form, known)}`;
    return [
      `${run.label}: during training reverse KL falls from ${brief(kl.first)} to ${brief(kl.last)} nats while ${responseForms[form].called} goes from ${shown(form, own.first)} to ${shown(form, own.last)}${from}.`,
    ];
  });
}
