import { join } from 'node:path';
import { Command, Option } from 'commander';
import { oneShard } from '../../cluster/shards.js';
import { RunError, UsageError } from '../../errors.js';
import { type ObjectiveConfig, presetNames } from '../../objectives/presets.js';
import { Stopped } from '../../pieces.js';
import type { Setting } from '../../variance/condition.js';
import type { GradientSpace } from '../../variance/gradientSpace.js';
import type { Estimator } from '../../variance/grid.js';
import type { Measurement } from '../../variance/measure.js';
import {
  type CommonOptions,
  logger,
  nonNegativeInteger,
  numberBetween,
  positiveInteger,
  print,
  repeated,
  startBackend,
  withCommonOptions,
} from '../common.js';
import { interruptible } from '../interrupt.js';
import { switchesFrom } from '../objective.js';
import { ranks, type ShardOptions, shardsOf, withShardOptions } from '../ranks.js';
import { varianceFigure } from '../varianceFigure.js';
import type { VarianceSource } from '../varianceInputs.js';
import { varianceTable } from '../varianceTable.js';

interface VarianceOptions extends CommonOptions, VarianceSource, ShardOptions {
  prompts: number;
  samples: number;
  repeats: number;
  freshPrompts?: boolean;
  seed: number;
  preset?: string;
  set: string[];
  estimators?: string;
  all?: boolean;
  snr: number;
  projections?: number;
  batchSize: number;
  out?: string;
  figure?: string;
  json?: boolean;
}

/** `minillm variance`: the measured variance of gradient estimators on a real pair of models. */
export function varianceCommand(): Command {
  const command = new Command('variance')
    .description(
      'the measured variance of gradient estimators on a student and a teacher, on the same prompts',
    )
    .option('--run <dir>', 'a training run: its student, teacher, validation data and objective')
    .option('--student <dir>', 'Hugging Face model directory')
    .option('--teacher <dir>', 'Hugging Face model directory')
    .option('--data <file>', 'JSONL or JSON with instructions: the prompts')
    .option('--template <name>', 'how instruction and input become a prompt (default: alpaca)')
    .option('--prompts <n>', 'prompts, the first of the data', positiveInteger, 16)
    .option('--samples <k>', 'responses to each prompt in one estimate', positiveInteger, 4)
    .option('--repeats <m>', 'estimates of each estimator', positiveInteger, 32)
    .option('--fresh-prompts', 'other prompts in every repeat: the noise of their choice counts, too')
    .option('--max-new-tokens <n>', "longest response (default: the run's, or 64)", positiveInteger)
    .option('--seed <s>', 'seed of the random streams', nonNegativeInteger, 1)
    .addOption(
      new Option(
        '--preset <name>',
        "switches that all estimators share (default: the run's, or minillm)",
      ).choices(presetNames),
    )
    .option('--set <switch=value>', 'change one of them (docs/minillm.md); repeatable', repeated, [])
    .option('--estimators <list>', 'comma-separated names, see below')
    .option('--all', 'every combination')
    .option(
      '--snr <x>',
      'signal-to-noise ratio that the rollouts are counted for',
      numberBetween(1e-6, 1e6),
      1,
    )
    .option(
      '--projections <n>',
      'compare n random projections of each gradient instead of the gradient',
      positiveInteger,
    )
    .option('--batch-size <b>', 'responses in one pass; no result depends on it', positiveInteger, 64)
    .option('--out <dir>', 'keep what is measured there; a second call goes on where the first stopped')
    .option('--figure <file>', 'write a figure (SVG)')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
An estimator is returns/baseline/importance/sampling/alpha, with * for any, or preset/NAME; parts at the end may be
left out: rao-blackwell/position, */none/none, preset/*. What the columns mean: docs/variance.md.

Example:
  minillm variance --student experiments/wordnet/student --teacher experiments/wordnet/teacher \\
    --data data/wordnet/valid.jsonl --template plain --max-new-tokens 40 --estimators '*/none/none,*/position/none'`,
    );
  return withCommonOptions(withShardOptions(command)).action(run);
}

async function run(options: VarianceOptions): Promise<void> {
  const log = logger(options);
  if (options.repeats < 2) throw new UsageError('--repeats 1: a variance needs at least 2');
  if (options.all && options.estimators !== undefined)
    throw new UsageError('variance: give either --all or --estimators, not both');
  const { loadInputs, locate } = await import('../varianceInputs.js');
  const { resolveObjective } = await import('../../objectives/presets.js');
  const { estimators, referenceEstimator } = await import('../../variance/grid.js');
  const place = await locate(options, log);
  const switches = await switchesFrom(options.set);
  const own = place.config?.method === 'minillm' && !options.preset ? place.config.objective : {};
  const { preset = options.preset ?? 'minillm', ...overrides } = own as { preset?: string };
  const base = resolveObjective(preset, { max_response: place.maxNewTokens, ...overrides, ...switches });
  const list = estimators({
    base,
    samples: options.samples,
    all: options.all ?? false,
    ...(options.estimators !== undefined && { patterns: options.estimators.split(',') }),
  });
  const reference = referenceEstimator(base);
  const { engine } = await startBackend(options, log);
  const { student, teacher, prompts, eosIds, maxNewTokens } = await loadInputs(place, log);
  const lists = options.freshPrompts ? options.repeats : 1;
  if (prompts.length < lists * options.prompts) {
    const times = options.freshPrompts ? ` for each of ${options.repeats} repeats` : '';
    throw new UsageError(
      `--prompts ${options.prompts}${times}: ${place.data} has ${prompts.length}; lower it`,
    );
  }
  const used = lists * options.prompts;
  const { gradientSpace } = await import('../../variance/gradientSpace.js');
  const { results, resultsCsv } = await import('../../variance/results.js');
  const space = gradientSpace(student.params, options);
  const read = { '--student': place.student, '--teacher': place.teacher, '--data': place.data };
  const shards = await shardsOf(options, engine, read, log);
  const setting: Setting = {
    models: { student, teachers: [teacher], shards },
    prompts: Array.from({ length: options.repeats }, (_, m) => {
      const first = options.freshPrompts ? m * options.prompts : 0;
      return prompts.slice(first, first + options.prompts);
    }),
    warmupPrompts: prompts.length > used ? prompts.slice(used) : prompts,
    samples: options.samples,
    seed: options.seed,
    maxNewTokens,
    eosIds,
    batchSize: options.batchSize,
  };
  log(
    `${new Set([reference, ...list].map(({ name }) => name)).size} estimators, ${options.repeats} repeats of ${options.prompts} prompts x ${options.samples} samples; ${space.kind} scalar products of ${space.dimensions} numbers`,
  );
  const measurements = await measureAll(setting, space, reference, list, base, options, log);
  if (ranks().rank > 0) return; // rank 0 has the whole of it and writes it down
  const rollouts = options.prompts * options.samples;
  const rows = results(measurements, reference, list, rollouts, { seed: options.seed, target: options.snr });
  const json = {
    student: place.student,
    teacher: place.teacher,
    data: place.data,
    prompts: options.prompts,
    fresh_prompts: options.freshPrompts ?? false,
    samples: options.samples,
    rollouts,
    repeats: options.repeats,
    seed: options.seed,
    signal_to_noise_target: options.snr,
    scalar_products: { kind: space.kind, dimensions: space.dimensions, parameters: space.parameters },
    objective: base,
    reference: reference.name,
    estimators: rows,
  };
  const figure = await varianceFigure(rows, options.snr);
  const { writeFileAtomic } = await import('../../runs/atomic.js');
  const files: [file: string, text: string][] = [
    ...(options.figure ? [[options.figure, figure] as [string, string]] : []),
    ...(options.out
      ? ([
          [join(options.out, 'variance.json'), `${JSON.stringify(json, null, 2)}\n`],
          [join(options.out, 'variance.csv'), resultsCsv(rows)],
          [join(options.out, 'variance.svg'), figure],
        ] as [string, string][])
      : []),
  ];
  for (const [file, text] of files) await writeFileAtomic(file, text);
  if (options.json) print(JSON.stringify(json));
  else print(varianceTable(rows, reference.name));
}

/** Estimator after estimator, with progress; those of an earlier call into the same directory are not measured again. */
async function measureAll(
  setting: Setting,
  space: GradientSpace,
  reference: Estimator,
  list: readonly Estimator[],
  base: ObjectiveConfig,
  options: VarianceOptions,
  log: (line: string) => void,
): Promise<Measurement[]> {
  const { measurePieces } = await import('../../variance/measure.js');
  const { appendMeasurement, describeSetting, openStore } = await import('../../variance/store.js');
  const { breathe } = await import('../../pieces.js');
  const { createProgress } = await import('../../runs/progress.js');
  const { shards = oneShard } = setting.models;
  const keeps = shards.cluster.rank === 0;
  const before = shards.first(
    options.out && keeps
      ? await openStore(options.out, describeSetting(setting, space, base), options.repeats)
      : [],
  );
  const wanted = new Set([reference, ...list].map(({ name }) => name));
  const known = before.filter(({ name }) => wanted.has(name));
  if (known.length > 0) log(`${known.length} of ${wanted.size} estimators were measured before`);
  const measurements = [...known];
  if (measurements.length === wanted.size) return measurements;
  // The reference's gradients are needed for the others' scalar products, whether they are known or not.
  const names = new Set([
    reference.name,
    ...[...wanted].filter((name) => !known.some((m) => m.name === name)),
  ]);
  const progress = createProgress({
    label: 'variance',
    total: names.size * options.repeats,
    unit: 'gradient',
    quiet: options.quiet ?? false,
  });
  let gradients = 0;
  const { stopping, release } = interruptible(log, 'stopping; estimators that are complete are kept');
  try {
    const found = measurePieces(setting, space, reference, list, {
      known: new Set(known.map(({ name }) => name)),
      onGradient: () => progress.update(++gradients),
    });
    for (const measurement of found) {
      if (measurement) {
        measurements.push(measurement);
        if (options.out && keeps) await appendMeasurement(options.out, measurement);
      }
      await breathe();
      if (!stopping() || measurements.length === wanted.size) continue;
      shards.leave();
      throw new Stopped();
    }
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    throw stopped(measurements.length, wanted.size, options.out);
  } finally {
    release();
    progress.finish();
  }
  return measurements;
}

function stopped(done: number, all: number, out: string | undefined): RunError {
  const mend = out ? 'the same command goes on' : 'with --out DIR the same command would go on';
  return new RunError(`stopped after ${done} of ${all} estimators; ${mend}`, 130);
}
