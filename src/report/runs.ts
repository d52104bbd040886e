import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { UsageError } from '../errors.js';
import { wordlessNote } from '../evaluation/wordless.js';
import { trainConfigSchema } from '../training/config.js';
import { choseUntrained, selectionOf, UNTRAINED } from '../training/selection.js';
import { type EvaluationFile, type MetricSummary, readEvaluation } from './evaluationFile.js';
import { loadSamples, type SampleRow } from './sampleRows.js';
import { finite, isObject, jsonLines, parseObject, readText, record } from './untrusted.js';

/** A line of metrics.jsonl, as far as it can be trusted. */
export interface LoggedRow {
  step: number;
  phase: string;
  /** Its finite numbers by name. */
  values: Record<string, number>;
}

/** Everything the report knows of a run. A missing piece is empty here and named in `notes`. */
export interface Run {
  directory: string;
  label: string;
  method: string;
  isTeacher: boolean;
  /** The last optimizer step that was logged, or that the evaluation names; null when nothing was trained here. */
  steps: number | null;
  /** Of the model, and of its teachers together. */
  parameters: number | null;
  teacherParameters: number | null;
  logged: LoggedRow[];
  evaluation: Record<string, MetricSummary>;
  /** What else evaluation.json says. */
  evaluated: Omit<EvaluationFile, 'metrics'>;
  samples: SampleRow[];
  /** Where the samples come from: `eval`, or `step-120` of a run without an evaluation. */
  samplesFrom: string | null;
  configText: string | null;
  config: Record<string, unknown>;
  environment: Record<string, unknown>;
  notes: string[];
}

/** Columns and lines come in this order when a directory of runs is expanded; others follow by name. */
const methodOrder = [
  'teacher',
  'start',
  'sft',
  'kd',
  'seqkd',
  'reverse-kd',
  'babyllama',
  'imitkd',
  'gkd',
  'distillm',
  'opd',
  'minillm',
];

const methodNames = new Map(
  Object.entries({
    teacher: 'Teacher',
    start: 'Start',
    sft: 'SFT',
    kd: 'KD',
    seqkd: 'SeqKD',
    'reverse-kd': 'Reverse KD',
    babyllama: 'BabyLlama',
    imitkd: 'ImitKD',
    gkd: 'GKD',
    distillm: 'DistiLLM',
    opd: 'OPD',
    minillm: 'MiniLLM',
  }),
);

/** A method as papers write it; any other name as it is. */
export function displayName(name: string): string {
  return methodNames.get(name) ?? name;
}

const metricsFile = 'metrics.jsonl';
const evaluationFile = 'evaluation.json';

/**
 * Reads run directories. A directory without metrics.jsonl whose children are runs stands for its children.
 * Missing or damaged pieces are noted, not fatal: a run in progress must have a page too.
 * @throws UsageError if a path is no directory or holds nothing of a run.
 */
export function loadRuns(directories: readonly string[]): Run[] {
  const runs = directories.flatMap(expand).map(loadRun);
  const seen = new Map<string, number>();
  for (const run of runs) seen.set(run.label, (seen.get(run.label) ?? 0) + 1);
  const taken = new Set<string>();
  for (const run of runs) {
    if (seen.get(run.label)! > 1) run.label = `${run.label} (${path.basename(run.directory)})`;
    const label = run.label;
    for (let i = 2; taken.has(run.label); i++) run.label = `${label} ${i}`;
    taken.add(run.label);
  }
  return runs;
}

function expand(directory: string): string[] {
  const resolved = path.resolve(directory);
  if (!statSync(resolved, { throwIfNoEntry: false })?.isDirectory()) {
    throw new UsageError(
      `${directory}: no such directory; expected a run directory that minillm train or quickstart made`,
    );
  }
  if (isFile(path.join(resolved, metricsFile))) return [resolved];
  // What a sweep compares its runs with lies in a directory of its own.
  const children = [...runsIn(path.join(resolved, 'references')), ...runsIn(resolved)];
  if (children.length > 0) return children.sort(byMethod);
  const anything = [evaluationFile, 'config.resolved.yaml', 'environment.json'].some((name) =>
    isFile(path.join(resolved, name)),
  );
  if (!anything) {
    throw new UsageError(
      `${directory}: holds no run; expected ${metricsFile} or ${evaluationFile} in it or in its subdirectories`,
    );
  }
  return [resolved];
}

function runsIn(directory: string): string[] {
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) return [];
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(directory, entry.name))
    .filter(holdsRun);
}

function byMethod(a: string, b: string): number {
  // A sweep calls its runs kd_seed=1 and the like.
  const isOf = (name: string, method: string): boolean =>
    name.startsWith(method) && !/^[a-z0-9]/i.test(name.slice(method.length));
  const rank = (directory: string): number =>
    methodOrder.findIndex((method) => isOf(path.basename(directory), method)) + 1 || 99;
  return rank(a) - rank(b) || a.localeCompare(b, 'en');
}

function isFile(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isFile() === true;
}

function holdsRun(directory: string): boolean {
  return [metricsFile, evaluationFile].some((name) => isFile(path.join(directory, name)));
}

function loadRun(directory: string): Run {
  const notes: string[] = [];
  const configText = readText(path.join(directory, 'config.resolved.yaml'));
  const config = parseConfig(configText, notes);
  const evaluationText = readText(path.join(directory, evaluationFile));
  const evaluation = parseObject(evaluationText, evaluationFile, notes);
  const { metrics, ...evaluated } = readEvaluation(evaluation);
  const method = [config.method, evaluation.method].find((name) => typeof name === 'string' && name !== '') as
    | string
    | undefined;
  const { rows: logged, bad } = jsonLines(readText(path.join(directory, metricsFile)), loggedRow);
  if (bad > 0) notes.push(`${metricsFile}: ${bad} line${bad === 1 ? '' : 's'} could not be read`);
  const samples = loadSamples(directory, notes);
  notes.push(...choiceNotes(config, logged), ...evaluated.notes);
  if (evaluationText === null) notes.push(`no ${evaluationFile} yet`);
  const planned = isObject(config.train) && typeof config.train.steps === 'number' ? config.train.steps : 0;
  const reached = logged.reduce((most, row) => Math.max(most, row.step), 0);
  if (logged.length > 0 && reached < planned)
    notes.push(`stopped or still running: step ${reached} of ${planned}`);
  const environment = parseObject(
    readText(path.join(directory, 'environment.json')) ??
      readText(path.join(directory, '..', 'environment.json')),
    'environment.json',
    notes,
  );
  const name = method ?? path.basename(directory);
  return {
    directory,
    label: displayName(
      typeof evaluation.model === 'string' && evaluation.model !== '' ? evaluation.model : name,
    ),
    method: name,
    isTeacher: name.toLowerCase() === 'teacher' || evaluation.is_teacher === true,
    logged,
    parameters: numberOf(evaluation.parameters ?? environment.student_parameters),
    teacherParameters: numberOf(evaluation.teacher_parameters ?? sum(environment.teacher_parameters)),
    steps: finite(evaluation.steps) ? evaluation.steps : reached > 0 ? reached : null,
    evaluation: metrics,
    evaluated,
    ...samples,
    configText,
    config,
    environment,
    notes,
  };
}

/** A best/ that nobody trained, and a Rouge-L that chose it without seeing the references. */
function choiceNotes(config: Record<string, unknown>, logged: readonly LoggedRow[]): string[] {
  const parsed = trainConfigSchema.safeParse(config);
  if (!parsed.success) return [];
  const rows = logged.map(({ step, phase, values }) => ({
    step,
    phase,
    value: (name: string) => values[name],
  }));
  const blind = logged.find(({ values }) => values.references_without_words)?.values;
  return [
    ...(choseUntrained(selectionOf(parsed.data), rows) ? [UNTRAINED] : []),
    ...(blind
      ? [
          `${wordlessNote(blind.references_without_words!, blind.references ?? 0, 'validation rows')}; best/ is chosen by it`,
        ]
      : []),
  ];
}

const numberOf = (value: unknown): number | null => (finite(value) ? value : null);

function sum(list: unknown): number | null {
  return Array.isArray(list) && list.length > 0 && list.every(finite)
    ? list.reduce((a, b) => a + b, 0)
    : null;
}

function parseConfig(text: string | null, notes: string[]): Record<string, unknown> {
  if (text === null) return {};
  try {
    const value: unknown = parse(text, { maxAliasCount: 10 });
    if (isObject(value)) return value;
  } catch {
    // Noted below.
  }
  notes.push('config.resolved.yaml is not a YAML mapping');
  return {};
}

function loggedRow(value: unknown): LoggedRow | undefined {
  if (!isObject(value) || !finite(value.step)) return undefined;
  const { step, phase, round: _round, wall_s: _wall, ...metrics } = value;
  const values = record(
    Object.entries(metrics).filter((entry): entry is [string, number] => finite(entry[1])),
  );
  return { step, phase: typeof phase === 'string' ? phase : '', values };
}
