import { finite, isObject, record } from './untrusted.js';

/** A measured number as evaluation.json holds it. */
export interface MetricSummary {
  mean: number;
  stderr: number | null;
  n: number;
  interval?: [low: number, high: number];
}

/** How often values fall between edges. */
export interface Histogram {
  edges: number[];
  counts: number[];
}

/** ExAccErr over length; every list as long as the first. */
export interface Exposure {
  student: number[];
  teacher: number[];
  excess: (number | null)[];
  stderr: (number | null)[];
  /** Share of the teacher's samples that are at least so long. */
  reached: number[];
}

/** One bin of a reliability diagram that is not empty. */
export interface ReliabilityBin {
  confidence: number;
  accuracy: number;
  count: number;
}

/** What the report reads of an evaluation.json, as far as it can be trusted. */
export interface EvaluationFile {
  metrics: Record<string, MetricSummary>;
  /** Values per prompt by metric, and a name for the prompts: values pair only where it is the same. */
  perPrompt: Record<string, number[]>;
  promptSet: string | null;
  data: string | null;
  /** What the evaluation says beside its numbers. */
  notes: string[];
  prompts: number | null;
  curves: {
    exposure?: Exposure;
    calibration?: ReliabilityBin[];
    answerCalibration?: ReliabilityBin[];
    length?: Histogram;
    reward?: Histogram;
  };
}

export function readEvaluation(file: Record<string, unknown>): EvaluationFile {
  const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
  const curves = isObject(file.curves) ? file.curves : {};
  const found = {
    exposure: exposure(curves.exposure_bias),
    calibration: reliability(curves.calibration),
    answerCalibration: reliability(curves.answer_calibration),
    length: histogram(curves.length),
    reward: histogram(curves.reward),
  };
  return {
    metrics: metrics(file),
    perPrompt: record(
      Object.entries(isObject(file.per_prompt) ? file.per_prompt : {}).filter(
        (entry): entry is [string, number[]] => numbers(entry[1]) && entry[1].length > 0,
      ),
    ),
    promptSet: text(file.prompt_set),
    data: text(file.data),
    notes: Array.isArray(file.notes) ? file.notes.flatMap((line) => text(line) ?? []) : [],
    prompts: finite(file.prompts) ? file.prompts : null,
    curves: Object.fromEntries(Object.entries(found).filter(([, curve]) => curve !== undefined)),
  };
}

/** The numbers; seconds and steps of training join them under their names. */
function metrics(file: Record<string, unknown>): Record<string, MetricSummary> {
  const result = record<MetricSummary>([]);
  for (const [name, value] of Object.entries(isObject(file.metrics) ? file.metrics : {})) {
    if (!isObject(value) || !finite(value.mean)) continue;
    const interval = numbers(value.interval) && value.interval.length === 2;
    result[name] = {
      mean: value.mean,
      stderr: finite(value.stderr) ? value.stderr : null,
      n: finite(value.n) ? value.n : 1,
      ...(interval && { interval: value.interval as [number, number] }),
    };
  }
  const plain = { train_seconds: file.train_seconds, steps: file.steps };
  for (const [name, value] of Object.entries(plain)) {
    if (!Object.hasOwn(result, name) && finite(value)) result[name] = { mean: value, stderr: null, n: 1 };
  }
  return result;
}

function numbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(finite);
}

function histogram(value: unknown): Histogram | undefined {
  if (!isObject(value) || !numbers(value.edges) || !numbers(value.counts)) return undefined;
  const { edges, counts } = value;
  const rising = edges.every((edge, i) => i === 0 || edge > edges[i - 1]!);
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (!rising || edges.length !== counts.length + 1 || total <= 0 || counts.some((n) => n < 0))
    return undefined;
  return { edges, counts };
}

function exposure(value: unknown): Exposure | undefined {
  if (!isObject(value)) return undefined;
  const { student_error: student, teacher_error: teacher, reached } = value;
  const gaps = (list: unknown): list is (number | null)[] =>
    Array.isArray(list) && list.every((x) => x === null || finite(x));
  const { excess_percent: excess, excess_stderr: stderr } = value;
  if (!numbers(student) || !numbers(teacher) || !numbers(reached) || !gaps(excess) || !gaps(stderr))
    return undefined;
  const lengths = new Set([student, teacher, reached, excess, stderr].map((list) => list.length));
  return lengths.size === 1 && student.length > 0 ? { student, teacher, excess, stderr, reached } : undefined;
}

function reliability(value: unknown): ReliabilityBin[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const bins = value.flatMap((bin): ReliabilityBin[] => {
    if (!isObject(bin)) return [];
    const { confidence, accuracy, count } = bin;
    return finite(confidence) && finite(accuracy) && finite(count) && count > 0
      ? [{ confidence, accuracy, count }]
      : [];
  });
  return bins.length > 0 ? bins : undefined;
}
