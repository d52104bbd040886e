import { Command } from 'commander';
import { UsageError } from '../../errors.js';
import type { EstimatorRow, OracleResult } from '../../oracle/oracle.js';
import { type CommonOptions, logger, print, withCommonOptions } from '../common.js';

/** `minillm oracle WORLD.json`: exact bias and variance of every gradient estimator on a tabular world. */
export function oracleCommand(): Command {
  return withCommonOptions(
    new Command('oracle')
      .description(
        'judge every gradient estimator against the exact gradient of a small tabular world (float64)',
      )
      .argument('<world>', 'JSON: {vocab, horizon, eos, alpha, student: [{prefix, logits}], teacher: [...]}')
      .option('--json', 'one JSON object on standard output'),
  )
    .addHelpText(
      'after',
      `
One entry for every prefix without EOS shorter than the horizon. The columns: bias of the expectation relative to the
exact gradient, its cosine with it, and the trace of the covariance of one sample's gradient (for K samples per prompt
K times the variance of their mean). * marks estimators that claim to be unbiased.

Example:
  echo '{"vocab":2,"horizon":2,"eos":0,"alpha":0.2,
         "student":[{"prefix":[],"logits":[0,1]},{"prefix":[1],"logits":[0.5,0]}],
         "teacher":[{"prefix":[],"logits":[1,0]},{"prefix":[1],"logits":[0,0.5]}]}' > world.json
  minillm oracle world.json`,
    )
    .action(async (file: string, options: CommonOptions & { json?: boolean }) => {
      const { readFile } = await import('node:fs/promises');
      const { parseWorld } = await import('../../oracle/worldFile.js');
      const { runOracle } = await import('../../oracle/oracle.js');
      const world = parseWorld(parseJson(await readText(readFile, file), file), file);
      logger(options)(
        `${world.sequences} sequences, ${world.states.length} states, exact in float64 without a tensor backend`,
      );
      const result = runOracle(world);
      if (options.json) print(JSON.stringify(result));
      else printTables(result);
    });
}

async function readText(
  readFile: (path: string, encoding: 'utf8') => Promise<string>,
  file: string,
): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unreadable'}); expected a world in JSON`,
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

function printTables(result: OracleResult): void {
  print(
    `reverse KL ${result.kl.toFixed(6)} nats over ${result.sequences} sequences; gradient norm ${norm(result).toFixed(6)}`,
  );
  print('');
  print(header('estimator'));
  for (const row of distinct(result.estimators)) print(line(label(row), row));
  print('');
  print(header('biased by design'));
  for (const row of result.forms) print(line(row.name, row));
  print('');
  print(
    `E[sum r_t / T] (length_norm total): ${result.length_normalised.kl.toFixed(6)} nats, judged against its own gradient`,
  );
  print(header('estimator'));
  for (const row of distinct(result.length_normalised.estimators)) print(line(label(row), row));
}

/** Without mixing every weight is 1: one row says it all. */
function distinct(rows: readonly EstimatorRow[]): EstimatorRow[] {
  return rows.filter((row) => row.alpha > 0 || row.importance === 'none');
}

const columns = [
  ['alpha', 6],
  ['bias', 11],
  ['cosine', 8],
  ['variance', 12],
] as const;

function header(title: string): string {
  return title.padEnd(62) + columns.map(([name, width]) => name.padStart(width)).join('');
}

function label(row: EstimatorRow): string {
  const split = row.single_step ? 'single step + R_{t+1}' : 'R_t';
  const samples = row.samples > 1 ? ` K=${row.samples}` : '';
  return `${split.padEnd(22)}${row.returns.padEnd(14)}${(row.baseline + samples).padEnd(19)}${row.importance}`;
}

function line(name: string, row: EstimatorRow): string {
  const values = [
    String(row.alpha),
    `${row.claims_unbiased ? '*' : ''}${row.relative_bias < 1e-9 ? '0' : row.relative_bias.toPrecision(3)}`,
    row.cosine.toFixed(4),
    row.variance.toPrecision(5),
  ];
  return name.padEnd(62) + values.map((value, i) => value.padStart(columns[i]![1])).join('');
}

function norm(result: OracleResult): number {
  return Math.hypot(...result.gradient.flatMap(({ values }) => values));
}
