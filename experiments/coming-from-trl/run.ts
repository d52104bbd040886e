/**
 * coming-from-trl: a MiniLLM and a GKD of TRL beside ours, on the same prompts.
 *
 *     PYTHON=venv/bin/python node --import tsx experiments/coming-from-trl/run.ts OUT
 *
 * Makes the data and the models (rows.ts), trains every side THREADS (1) threads wide, in turns, REPEATS (2) times, measures the students
 * with `minillm eval`, and writes OUT/comparison.json and comparison.md. A call goes on
 * from an interruption; after one that came to its end, or with other settings, everything is measured afresh.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { moduleVersions, pythonProgram } from '../python.js';
import { type Measured, measure } from './measured.js';
import { type Material, makeMaterial, readRows } from './rows.js';
import { comparisonMarkdown, type Evaluated, type Run, type Side, sides } from './tables.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const [repeats, threads] = [Number(process.env.REPEATS ?? 2), process.env.THREADS ?? '1'];
const METRICS = ['rouge_l_sampled', 'reverse_kl_seq', 'lm_loss', 'length'];
const program = ['--import', 'tsx', join(here, '../../src/cli/main.ts')];

function minillm(args: readonly string[]): string {
  const { status, stdout } = spawnSync(process.execPath, [...program, ...args], {
    ...{ encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 26 },
  });
  if (status !== 0) throw new Error(`minillm ${args.join(' ')}: exit code ${status}`);
  return stdout;
}

const json = (file: string): unknown => JSON.parse(readFileSync(file, 'utf8'));
const jsonLines = (file: string): Record<string, number>[] =>
  readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

/** What is in `file`, made first where it is not there. */
async function kept<T>(file: string, make: () => Promise<T> | T): Promise<T> {
  if (!existsSync(file)) writeFileSync(file, `${JSON.stringify(await make())}\n`);
  return json(file) as T;
}

/** Nothing of a call that came to its end, or that measured something else, is used again. */
function beginOrGoOn(out: string, settings: object): void {
  const file = join(out, 'settings.json');
  const same = existsSync(file) && JSON.stringify(json(file)) === JSON.stringify(settings);
  if (!same || existsSync(join(out, 'comparison.json'))) rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  writeFileSync(file, `${JSON.stringify(settings)}\n`);
}

/** Data, models, and the prompts as Parquet. */
async function material(out: string, python: string): Promise<Material> {
  const data = join(out, 'data');
  minillm([
    'data',
    'build',
    'wordnet',
    '--out',
    data,
    '--size',
    '400',
    '--valid',
    '50',
    '--test',
    '300',
    '--quiet',
  ]);
  const made = makeMaterial(readRows(join(data, 'train.jsonl')), out);
  const prompts = join(out, 'prompts.parquet');
  await measure(python, [join(here, 'to_parquet.py'), made.prompts, prompts], {}, join(out, 'parquet.log'));
  return { ...made, prompts };
}

async function ours(
  { file, more }: Side,
  data: string,
  { student, teacher }: Material,
  out: string,
): Promise<Run> {
  const sets = [`student=${student}`, `teacher=${teacher}`, `data.train=${data}`].flatMap((set) => [
    '--set',
    set,
  ]);
  const args = [
    ...program,
    'train',
    join(here, `${file}.yaml`),
    ...sets,
    ...more,
    '--threads',
    threads,
    '--out',
    out,
  ];
  const measured = await measure(process.execPath, args, {}, `${out}.log`);
  const rows = jsonLines(join(out, 'metrics.jsonl'));
  const ends = jsonLines(join(out, 'timing.jsonl')).map((row) => row.train_s!);
  return {
    ...measured,
    seconds: ends.map((end, i) => end - (ends[i - 1] ?? 0)),
    losses: rows.map((row) => row.loss!),
  };
}

async function theirs(
  { file, more }: Side,
  data: string,
  made: Material,
  out: string,
  python: string,
): Promise<Run> {
  // One process of several libraries that each would take all cores.
  const env = { OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads, HF_HUB_OFFLINE: '1' };
  const args = [join(here, `${file}.py`), made.student, made.teacher, data, out, ...more];
  const measured: Measured = await measure(python, args, env, `${out}.log`);
  return { ...measured, ...(json(join(out, 'steps.json')) as Pick<Run, 'seconds' | 'losses'>) };
}

function evaluate(model: string, out: string): Evaluated {
  const args = ['--data', join(out, 'data/test.jsonl'), '--template', 'plain', '--seeds', '10,20,30'];
  const limits = ['--max-prompt-tokens', '64', '--max-new-tokens', '32', '--metrics', METRICS.join(',')];
  const teacher = join(here, '../wordnet/teacher');
  const { metrics } = JSON.parse(
    minillm([
      'eval',
      '--model',
      model,
      '--teacher',
      teacher,
      ...args,
      ...limits,
      '--threads',
      '1',
      '--quiet',
    ]),
  ) as { metrics: Record<string, { mean: number; stderr: number }> };
  const numbers = METRICS.map((name) => [name, { mean: metrics[name]!.mean, stderr: metrics[name]!.stderr }]);
  return Object.fromEntries(numbers) as Evaluated;
}

async function main(out: string): Promise<void> {
  const python = pythonProgram();
  const versions = moduleVersions(python, ['trl', 'transformers', 'torch', 'datasets', 'accelerate']);
  beginOrGoOn(out, { threads, repeats, ...versions });
  const made = await kept(join(out, 'material.json'), () => material(out, python));
  const runs = new Map<Side, Run[]>(sides.map((side) => [side, []]));
  const loads: number[] = [];
  for (let turn = 1; turn <= repeats; turn++) {
    for (const side of sides) {
      const at = join(out, `${side.name}-${turn}`);
      const data = side.data === 'prompts' ? made.prompts : made.messages;
      const run = await kept(`${at}.json`, () =>
        side.trl ? theirs(side, data, made, at, python) : ours(side, data, made, at),
      );
      runs.get(side)!.push(run);
      loads.push(loadavg()[0]!);
      process.stderr.write(
        `${side.name} ${turn}/${repeats}: ${run.wall_s.toFixed(0)} s, ${run.peak_rss_mb} MB\n`,
      );
    }
  }
  const models = [
    ['student before', made.student],
    ...sides.map((side) => [
      side.name,
      side.trl ? join(out, `${side.name}-1`) : join(out, `${side.name}-1`, 'final'),
    ]),
  ] as [string, string][];
  const evaluated: Record<string, Evaluated> = {};
  for (const [name, model] of models)
    evaluated[name] = await kept(join(out, `eval-${name.replace(' ', '-')}.json`), () =>
      evaluate(model, out),
    );
  const load = [Math.min(...loads), Math.max(...loads)] as const;
  const settings = { threads: Number(threads), repeats, load_1min: load, versions };
  const results = {
    settings,
    runs: Object.fromEntries([...runs].map(([side, of]) => [side.name, of])),
    evaluated,
  };
  writeFileSync(join(out, 'comparison.json'), `${JSON.stringify(results, null, 1)}\n`);
  const table = comparisonMarkdown(results);
  writeFileSync(join(out, 'comparison.md'), table);
  process.stdout.write(table);
}

await main(resolve(process.argv[2] ?? 'runs/experiments/coming-from-trl')).catch((error: Error) => {
  process.stderr.write(`coming-from-trl: ${error.message}\n`);
  process.exitCode = 1;
});
