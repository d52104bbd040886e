import { existsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { z } from 'zod';
import { UsageError } from '../errors.js';
import { type MetricName, metricNames } from '../evaluation/evaluationMetrics.js';
import { methodNames, type TrainConfig, trainConfigSchema } from '../training/config.js';
import { type ConfigLayer, readTrainConfig, readYaml, validate } from './runConfig.js';

/** What the runs of a sweep have in common: how long each may train. */
export const budgets = {
  steps: 'equal optimizer steps',
  seconds: 'equal seconds of training (validation and saving not counted)',
  teacher_tokens: 'equal tokens read and written by teachers for training',
  none: 'nothing is held equal: train.steps differ',
} as const;
export type BudgetKind = keyof typeof budgets;
const budgetKinds = Object.keys(budgets) as [BudgetKind, ...BudgetKind[]];

const fields = z.record(z.string(), z.unknown());
const count = z.number().int().min(1);

const sweepSchema = z.strictObject({
  base: z.string().min(1).describe('the training configuration that all runs share'),
  set: fields.default({}).describe('fields laid over it'),
  grid: z
    .record(z.string(), z.array(z.unknown()).min(1, 'expected at least one value'))
    .default({})
    .describe('a list of values for any field; every combination is a run'),
  methods: z
    .partialRecord(z.enum(methodNames), fields)
    .default({})
    .describe('fields of the runs of one method, stronger than `set`, weaker than a variant and the grid'),
  variants: z
    .record(z.string().min(1), fields)
    .default({})
    .describe('an axis of named sets of fields: every variant is combined with every point of the grid'),
  budget: z
    .strictObject({ kind: z.enum(budgetKinds), amount: z.number().positive().optional() })
    .default({ kind: 'steps' })
    .describe('what is equal in all runs'),
  evaluate: z
    .strictObject({
      data: z
        .string()
        .min(1)
        .default('test')
        .describe('`test` is the test part of data.wordnet; else a file'),
      model: z.enum(['final', 'best']).default('final'),
      seeds: z.array(z.number().int()).min(1).default([10, 20, 30, 40, 50]),
      teacher_seeds: count.optional().describe('the metrics that need the teacher use the first so many'),
      metrics: z
        .array(z.enum(metricNames as [MetricName, ...MetricName[]]))
        .min(1)
        .optional(),
      max_new_tokens: count.optional(),
      batch_size: count.default(64),
    })
    .optional()
    .describe('measure every student; without it the table has the last validation'),
  parallel: count.optional().describe('runs at a time'),
});
type SweepFile = z.output<typeof sweepSchema>;

/** The axis of the named variants, beside those that are fields. */
export const VARIANT = 'variant';

/** A slip in a grid is a product of ten axes sooner than a plan for months. */
const MOST_RUNS = 1000;

/** One run of the grid. */
export interface SweepRun {
  /** Directory name, unique in the sweep. */
  name: string;
  /** The fields of the grid that make it what it is. */
  fields: Record<string, unknown>;
  config: TrainConfig;
}

export interface Sweep extends Omit<SweepFile, 'base' | 'set' | 'grid' | 'methods' | 'variants'> {
  /** Axes with more than one value, in the order of the file: what tells the runs apart. */
  axes: string[];
  /** The runs do not all start from one student: the grid or a variant names it. */
  perStudent: boolean;
  runs: SweepRun[];
}

/**
 * Reads SWEEP.yaml and makes the configuration of every run, all checked before anything runs. Paths in the file are
 * relative to it. Runs get one thread unless the configuration says otherwise: several run beside one another.
 *
 * @param sets `field=value` of the command line, stronger than the file but for what tells the runs apart; their paths are
 * relative to the working directory
 *
 * @throws UsageError naming the file and field, or the run whose configuration is not valid
 */
export async function readSweep(file: string, sets: readonly string[] = []): Promise<Sweep> {
  const { base, set, grid, methods, variants, ...rest } = validate(sweepSchema, await readYaml(file), file);
  const directory = dirname(resolve(file));
  const names = Object.keys(variants);
  if (grid[VARIANT] !== undefined)
    throw new UsageError(
      `${file}: grid.${VARIANT}: is no field of a configuration; name the sets in variants`,
    );
  const lines: Record<string, unknown[]> = { ...(names.length > 0 && { [VARIANT]: names }), ...grid };
  const axes = Object.keys(lines);
  if (rest.evaluate && rest.evaluate.data !== 'test')
    rest.evaluate.data = resolve(directory, rest.evaluate.data);
  const told = axes.filter((axis) => lines[axis]!.length > 1);
  const size = Object.values(lines).reduce((product, values) => product * values.length, 1);
  if (size > MOST_RUNS)
    throw new UsageError(`${file}: grid: ${size} runs, at most ${MOST_RUNS} in one sweep; cut the grid`);
  const runs: SweepRun[] = [];
  for (const point of product(lines)) {
    const name = nameOf(point, told);
    if (runs.some((run) => run.name === name)) {
      throw new UsageError(
        `${file}: grid: two runs would be called ${name}; give every axis different values`,
      );
    }
    const { [VARIANT]: variant, ...chosen } = point;
    const distinct = { ...variants[variant as string], ...chosen };
    const method = distinct.method ?? set.method ?? (await methodOf(resolve(directory, base)));
    const shared = { ...set, ...methods[method as keyof typeof methods], ...budgetFields(rest.budget, file) };
    const layers: ConfigLayer[] = [
      { sets: setsOf(shared), pathsFrom: directory, name: '' },
      { sets, pathsFrom: process.cwd() },
      { sets: setsOf(distinct), pathsFrom: directory, name: '' },
    ];
    const read = await readTrainConfig(resolve(directory, base), layers).catch((error: Error) => {
      throw error instanceof UsageError ? new UsageError(`${file}: run ${name}: ${error.message}`) : error;
    });
    // Parsed again: the order of the fields is the schema's, as in the run's own directory.
    const config = trainConfigSchema.parse({ threads: 1, ...read });
    checkBudget(config, rest.budget, `${file}: run ${name}`);
    checkEvaluation(rest.evaluate, config, file);
    runs.push({ name, fields: point, config });
  }
  if (rest.budget.kind === 'steps' && runs.some(({ config }) => config.train.epochs !== undefined))
    throw new UsageError(
      `${file}: budget: steps means equal train.steps, and train.epochs are steps only once the data is read; give budget.amount, or budget.kind none`,
    );
  const steps = new Set(runs.map((run) => run.config.train.steps));
  if (rest.budget.kind === 'steps' && steps.size > 1) {
    throw new UsageError(
      `${file}: budget: steps means equal train.steps, found ${[...steps].join(', ')}; give budget.amount, or budget.kind none`,
    );
  }
  const perStudent = [
    ...Object.keys(grid),
    ...Object.values(variants).flatMap((own) => Object.keys(own)),
  ].some((field) => field === 'student' || field.startsWith('student.'));
  return { ...rest, axes: told, perStudent, runs };
}

/** Every combination of the axes, the first varying slowest. */
function product(grid: Record<string, unknown[]>): Record<string, unknown>[] {
  return Object.entries(grid).reduce<Record<string, unknown>[]>(
    (points, [axis, values]) =>
      points.flatMap((point) => values.map((value) => ({ ...point, [axis]: value }))),
    [{}],
  );
}

/** `kd_seed-2_lr-0.001`: the method, then the axes that differ. */
function nameOf(point: Record<string, unknown>, axes: readonly string[]): string {
  const parts = axes.map((axis) => {
    const value = point[axis];
    const shown = typeof value === 'string' ? basename(value) : JSON.stringify(value);
    return axis === 'method' || axis === VARIANT ? shown : `${axis.split('.').at(-1)}-${shown}`;
  });
  const name = parts.join('_').replaceAll(/[^A-Za-z0-9._=-]+/g, '-');
  return name === '' ? 'run' : name;
}

async function methodOf(base: string): Promise<unknown> {
  const raw = await readYaml(base);
  return typeof raw === 'object' && raw !== null && 'method' in raw ? raw.method : undefined;
}

/** As `--set` takes them; JSON is YAML. */
function setsOf(all: Record<string, unknown>): string[] {
  return Object.entries(all).map(([field, value]) => `${field}=${JSON.stringify(value)}`);
}

function budgetFields({ kind, amount }: SweepFile['budget'], file: string): Record<string, number> {
  if (amount === undefined) {
    if (kind === 'steps' || kind === 'none') return {};
    throw new UsageError(
      `${file}: budget.amount: missing; say how many ${kind.replace('_', ' ')} each run gets`,
    );
  }
  if (kind === 'none') throw new UsageError(`${file}: budget.amount: ${amount} with kind none; leave it out`);
  const field = { steps: 'steps', seconds: 'max_seconds', teacher_tokens: 'max_teacher_tokens' }[kind];
  return { [`train.${field}`]: amount };
}

/** What would only be found out once the first run has been trained. */
function checkEvaluation(settings: SweepFile['evaluate'], { data }: TrainConfig, file: string): void {
  if (!settings) return;
  if (settings.model === 'best' && !data.valid && !data.wordnet)
    throw new UsageError(
      `${file}: evaluate.model: best is chosen by validations, and the base has no data.valid; take final`,
    );
  if (settings.data === 'test') {
    if (data.wordnet) return;
    throw new UsageError(
      `${file}: evaluate.data: test is the test part of data.wordnet, which the base does not use; name a file`,
    );
  }
  if (!existsSync(settings.data))
    throw new UsageError(`${file}: evaluate.data: ${settings.data} does not exist`);
}

/** A schedule that ends at `train.steps` would leave runs that stop earlier at a high learning rate. */
function checkBudget({ train }: TrainConfig, { kind }: SweepFile['budget'], where: string): void {
  if (kind === 'steps' || kind === 'none' || train.schedule === 'constant') return;
  throw new UsageError(
    `${where}: train.schedule: ${train.schedule} ends at train.steps, and a budget of ${kind.replace('_', ' ')} ends the run before; set it to constant`,
  );
}
