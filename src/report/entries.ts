import { summarize } from '../evaluation/metrics/statistics.js';
import { flatten } from './configuration.js';
import type { EvaluationFile, Exposure, Histogram, MetricSummary, ReliabilityBin } from './evaluationFile.js';
import { displayName, type Run } from './runs.js';
import { record } from './untrusted.js';

/** What is compared: a run, or the runs that differ in their seed alone. Its own fields speak for all of them. */
export interface Entry extends Run {
  /** One or several; numbers of several are means, and standard errors are over the runs. */
  runs: Run[];
}

/** Puts runs of one configuration but for the seed together, in the order of their first. The teacher comes first of all. */
export function entriesOf(runs: readonly Run[]): Entry[] {
  const groups: { key: string; runs: Run[] }[] = [];
  for (const run of runs) {
    const key = run.isTeacher || run.configText === null ? run.directory : sameButSeed(run);
    // A seed that is there already is the same run again, or another that happens to be configured alike.
    const group = groups.find((g) => g.key === key && g.runs.every((r) => r.config.seed !== run.config.seed));
    if (group) group.runs.push(run);
    else groups.push({ key, runs: [run] });
  }
  const entries = groups.map((group) => together(group.runs));
  const taken = new Set<string>();
  for (const entry of entries) {
    const { label } = entry;
    for (let i = 2; taken.has(entry.label); i++) entry.label = `${label} ${i}`;
    taken.add(entry.label);
  }
  return [...entries.filter((entry) => entry.isTeacher), ...entries.filter((entry) => !entry.isTeacher)];
}

/** The student that the others began as: one that a sweep measured as such, else that of SFT. */
export function startOf(entries: readonly Entry[]): Entry | undefined {
  const of = (method: string): Entry | undefined =>
    entries.find((entry) => !entry.isTeacher && entry.method.toLowerCase() === method);
  return of('start') ?? of('sft');
}

/** The configuration without the seed, also where the path of a model that was made with the same seed names it. */
function sameButSeed({ config, method }: Run): string {
  const seed = String(config.seed ?? '');
  // A number of its own, as in sft-1 or seed1: the 1 of table1 is a name's and would be the same for every seed.
  const named = new RegExp(`(?<![0-9A-Za-z.])(seed)?${seed.replace(/\D/g, '')}(?![0-9A-Za-z])`, 'gi');
  const fields = [...flatten(config)]
    .filter(([field]) => field !== 'seed')
    .map(([field, value]) =>
      /^(student|teacher)(\.|$)/.test(field) && /\d/.test(seed)
        ? [field, value.replace(named, '$1#')]
        : [field, value],
    );
  return JSON.stringify([method, ...fields]);
}

function together(runs: Run[]): Entry {
  const [first] = runs as [Run];
  if (runs.length === 1) return { ...first, runs };
  const seed = String(first.config.seed ?? '');
  const bare = first.label.replace(new RegExp(`[-_ ,]*(seed)?[-_= ]*${seed.replace(/\D/g, '')}$`, 'i'), '');
  return {
    ...first,
    label: displayName(bare === '' ? first.method : bare),
    steps: runs.every((run) => run.steps === first.steps) ? first.steps : null,
    evaluation: overRuns(runs),
    evaluated: {
      ...first.evaluated,
      perPrompt: meanPerPrompt(runs),
      curves: pooled(runs.map((run) => run.evaluated.curves)),
    },
    samples: (runs.find((run) => run.samples.length > 0) ?? first).samples,
    runs,
  };
}

/** Metrics that every run has: the mean of the runs' means, with the standard error over runs. */
function overRuns(runs: readonly Run[]): Record<string, MetricSummary> {
  const names = Object.keys(runs[0]!.evaluation).filter((name) => runs.every((run) => run.evaluation[name]));
  return record(
    names.map((name) => {
      return [name, summarize(runs.map((run) => run.evaluation[name]!.mean))] as const;
    }),
  );
}

/** The deviation is that of a sample (n − 1); 0 for one value. */
export function meanAndDeviation(values: readonly number[]): { mean: number; deviation: number } {
  const { mean, stderr, n } = summarize(values);
  return { mean, deviation: (stderr ?? 0) * Math.sqrt(n) };
}

function meanPerPrompt(runs: readonly Run[]): Record<string, number[]> {
  const all = runs.map((run) => run.evaluated);
  if (all.some(({ promptSet }) => promptSet !== all[0]!.promptSet)) return record([]);
  return record(
    Object.entries(all[0]!.perPrompt).flatMap(([name, values]) => {
      const lists = all.map(({ perPrompt }) => perPrompt[name]);
      if (lists.some((list) => list?.length !== values.length)) return [];
      return [[name, values.map((_, i) => summarize(lists.map((list) => list![i]!)).mean)] as const];
    }),
  );
}

type Curves = EvaluationFile['curves'];

function pooled(all: readonly Curves[]): Curves {
  const every = <K extends keyof Curves>(name: K): NonNullable<Curves[K]>[] =>
    all.flatMap((curves) => (curves[name] === undefined ? [] : [curves[name]!]));
  const exposures = every('exposure');
  const bins = { calibration: every('calibration'), answerCalibration: every('answerCalibration') };
  const histograms = { length: every('length'), reward: every('reward') };
  return {
    ...(exposures.length > 0 && { exposure: meanExposure(exposures) }),
    ...(bins.calibration.length > 0 && { calibration: pooledBins(bins.calibration.flat()) }),
    ...(bins.answerCalibration.length > 0 && {
      answerCalibration: pooledBins(bins.answerCalibration.flat()),
    }),
    ...(histograms.length.length > 0 && { length: pooledHistogram(histograms.length) }),
    ...(histograms.reward.length > 0 && { reward: pooledHistogram(histograms.reward) }),
  };
}

function meanExposure(all: readonly Exposure[]): Exposure {
  if (all.length === 1) return all[0]!;
  const length = Math.min(...all.map(({ student }) => student.length));
  const at = <T>(read: (values: number[]) => T, list: (one: Exposure) => (number | null)[]): (T | null)[] =>
    Array.from({ length }, (_, l) => {
      const values = all.map((one) => list(one)[l] ?? null);
      return values.every((x): x is number => x !== null) ? read(values) : null;
    });
  const mean = (values: number[]): number => summarize(values).mean;
  const error = (values: number[]): number => summarize(values).stderr ?? 0;
  return {
    student: at(mean, ({ student }) => student) as number[],
    teacher: at(mean, ({ teacher }) => teacher) as number[],
    reached: at(mean, ({ reached }) => reached) as number[],
    excess: at(mean, ({ excess }) => excess),
    stderr: at(error, ({ excess }) => excess),
  };
}

/** Bins that hold the same tenth of the confidences, as one. */
export function pooledBins(bins: readonly ReliabilityBin[]): ReliabilityBin[] {
  const byTenth = new Map<number, ReliabilityBin[]>();
  for (const bin of bins) {
    const tenth = Math.ceil(bin.confidence * 10);
    byTenth.set(tenth, [...(byTenth.get(tenth) ?? []), bin]);
  }
  return [...byTenth]
    .sort(([a], [b]) => a - b)
    .map(([, own]) => {
      const count = own.reduce((sum, bin) => sum + bin.count, 0);
      const mean = (read: (bin: ReliabilityBin) => number): number =>
        own.reduce((sum, bin) => sum + read(bin) * bin.count, 0) / count;
      return { confidence: mean((bin) => bin.confidence), accuracy: mean((bin) => bin.accuracy), count };
    });
}

/** Histograms that begin at one edge with one width, added; of others only the first. */
function pooledHistogram(all: readonly Histogram[]): Histogram {
  const longest = all.reduce((a, b) => (b.edges.length > a.edges.length ? b : a));
  const fits = all.every(({ edges }) => edges.every((edge, i) => Math.abs(edge - longest.edges[i]!) < 1e-9));
  if (!fits) return all[0]!;
  return {
    edges: longest.edges,
    counts: longest.counts.map((_, b) => all.reduce((sum, { counts }) => sum + (counts[b] ?? 0), 0)),
  };
}
