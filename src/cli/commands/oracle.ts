import { Command } from 'commander';
import { UsageError } from '../../errors.js';
import type { OracleOptions, OracleResult } from '../../oracle/oracle.js';
import type { World } from '../../oracle/world.js';
import {
  type CommonOptions,
  integerList,
  logger,
  numberBetween,
  print,
  withCommonOptions,
} from '../common.js';
import { oracleFigure } from '../oracleFigure.js';
import { oracleTables } from '../oracleTable.js';

interface Options extends CommonOptions {
  samples: number[];
  gaeLambda?: number;
  truncation?: number;
  teacherCost?: number;
  figure?: string;
  all?: boolean;
  json?: boolean;
}

/** `minillm oracle WORLD.json|CONFIG.yaml`: exact bias and variance of every gradient estimator on a small problem. */
export function oracleCommand(): Command {
  const command = new Command('oracle')
    .description('judge every gradient estimator against the exact gradient of a small problem (float64)')
    .argument('<world>', 'a tabular world (JSON), or a tiny pair of models (YAML); see below')
    .option('--samples <list>', 'K of baselines and samplings that take K responses', integerList, [2, 4])
    .option('--gae-lambda <x>', 'λ of the gae returns (default: 0.95)', numberBetween(0, 1))
    .option('--truncation <c>', 'c of importance truncated (default: 1)', numberBetween(1, 1e9))
    .option(
      '--teacher-cost <x>',
      'what the teacher pays for a token, in those of the student (default: 1 in a tabular world, else the ratio of the parameters)',
      numberBetween(0, 1e9),
    )
    .option('--figure <file>', 'write a figure (SVG)')
    .option('--all', 'print every combination')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
A world: {vocab, horizon, eos, alpha, student: [{prefix, logits}], teacher: [...]}, one entry for every prefix without
EOS shorter than the horizon. A pair: student and teacher (directories, or shapes with hidden_size, layers, heads, seed),
vocab, horizon, eos, alpha, prompts.

The columns: bias of the expectation relative to the exact gradient, its cosine with it, the trace of the covariance of
one sample's gradient (for K samples per prompt K times the variance of their mean), and that times the cost of a
sample. * marks estimators that claim to be unbiased. More: docs/oracle.md.

Examples:
  minillm oracle experiments/oracle/far.json --figure far.svg
  minillm oracle experiments/oracle/pair.yaml --json > pair.json`,
    );
  return withCommonOptions(command).action(run);
}

async function run(file: string, options: Options): Promise<void> {
  const log = logger(options);
  const wrong = options.samples.find((samples) => samples < 2 || samples > 16);
  if (wrong !== undefined) throw new UsageError(`--samples ${wrong}: expected whole numbers from 2 to 16`);
  const { runOracle } = await import('../../oracle/oracle.js');
  const problem = await open(file, log);
  const { world } = problem;
  log(
    `${world.sequences} sequences, ${world.states.length} states, exact in float64 without a tensor backend`,
  );
  const result = runOracle(world, {
    ...problem,
    samples: options.samples,
    parameters: {
      ...(options.gaeLambda !== undefined && { gae_lambda: options.gaeLambda }),
      ...(options.truncation !== undefined && { truncation: options.truncation }),
    },
    cost: { ...problem.cost, ...(options.teacherCost !== undefined && { teacher: options.teacherCost }) },
    ...(await progress(options)),
  });
  if (options.figure) {
    const { writeFileAtomic } = await import('../../runs/atomic.js');
    await writeFileAtomic(options.figure, await oracleFigure(result.estimators));
    log(`figure: ${options.figure}`);
  }
  if (options.json) print(JSON.stringify(await problem.complete(result)));
  else print(oracleTables(result, options.all ?? false));
}

interface Problem extends Pick<OracleOptions, 'jacobians'> {
  world: World;
  cost: NonNullable<OracleOptions['cost']>;
  /** What only a pair can add: the gradient in its parameters. */
  complete(result: OracleResult): Promise<unknown>;
}

async function open(file: string, log: (line: string) => void): Promise<Problem> {
  const { readFile } = await import('node:fs/promises');
  const text = await readText(readFile, file);
  if (!/\.ya?ml$/i.test(file)) {
    const { parseWorld } = await import('../../oracle/worldFile.js');
    const world = parseWorld(parseJson(text, file), file);
    return { world, cost: { promptTokens: 0, teacher: 1 }, complete: async (result) => result };
  }
  const { parseUntrustedYaml } = await import('../../runs/yaml.js');
  const { openPair, parameterGradient, parsePair } = await import('../../oracle/network/pair.js');
  const { initBackend } = await import('../../tensor/backend.js');
  let raw: unknown;
  try {
    raw = parseUntrustedYaml(text);
  } catch (error) {
    throw new UsageError(`${file}: not YAML (${(error as Error).message.split('\n')[0]!.slice(0, 120)})`);
  }
  const config = parsePair(raw, file);
  // Reads and draws weights; what is computed with them is plain float64.
  await initBackend({ backend: 'cpu' });
  const pair = await openPair(config, file);
  log(`student ${pair.jacobians[0]!.length / pair.world.vocab} parameters`);
  return {
    ...pair,
    complete: async (result) => ({ ...result, parameter_gradient: parameterGradient(pair) }),
  };
}

/** Shown once it takes longer than a second. */
async function progress(options: Options): Promise<Pick<OracleOptions, 'onProgress'>> {
  const { createProgress } = await import('../../runs/progress.js');
  const began = Date.now();
  let bar: ReturnType<typeof createProgress> | undefined;
  return {
    onProgress(done, total) {
      if (Date.now() - began < 1000) return;
      bar ??= createProgress({
        label: 'oracle',
        unit: 'estimator',
        total,
        done,
        ...(options.quiet && { quiet: true }),
      });
      bar.update(done);
      if (done === total) bar.finish();
    },
  };
}

async function readText(
  readFile: (path: string, encoding: 'utf8') => Promise<string>,
  file: string,
): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unreadable'}); expected a world in JSON or a pair of models in YAML`,
    );
  }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0]!.slice(0, 120);
    throw new UsageError(
      `${file}: not JSON (${reason}); expected {"vocab":…,"horizon":…,"eos":…,"alpha":…,"student":[…],"teacher":[…]}`,
    );
  }
}
