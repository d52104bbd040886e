import { metricInfo } from './catalog.js';
import type { Entry } from './entries.js';
import { clearlyAbove } from './uncertainty.js';

export interface Ranking {
  /** The student with the best mean. */
  best: Entry;
  /** The other students, best first, that are not clearly behind it. */
  level: Entry[];
  /** Those that are, best first. */
  behind: Entry[];
}

/** The students by a metric; undefined without a better direction, with one student only, or without any uncertainty. */
export function ranking(name: string, entries: readonly Entry[]): Ranking | undefined {
  const { better } = metricInfo(name);
  const students = entries.filter((entry) => !entry.isTeacher && entry.evaluation[name] !== undefined);
  if ((better !== 'higher' && better !== 'lower') || students.length < 2) return undefined;
  if (students.every((entry) => entry.evaluation[name]!.stderr === null)) return undefined;
  const sign = better === 'higher' ? 1 : -1;
  const mean = (entry: Entry): number => entry.evaluation[name]!.mean;
  const [best, ...others] = [...students].sort((a, b) => sign * (mean(b) - mean(a))) as [Entry, ...Entry[]];
  const isBehind = (entry: Entry): boolean =>
    sign > 0 ? clearlyAbove(best, entry, name) : clearlyAbove(entry, best, name);
  return { best, level: others.filter((e) => !isBehind(e)), behind: others.filter(isBehind) };
}

/** What is set in bold: the best student and those not clearly behind it; none where nobody is. */
export function boldEntries(name: string, entries: readonly Entry[]): Set<Entry> {
  const ranked = ranking(name, entries);
  return new Set(ranked && ranked.behind.length > 0 ? [ranked.best, ...ranked.level] : []);
}
