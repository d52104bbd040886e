/** The processes of a comparison: ours, PyTorch's, and what both need beforehand. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from '../../src/bench/measure.js';
import { randomRows } from '../../src/bench/training.js';
import { PROMPT_TOKENS, promptCounts, promptFile, type Side, shapes } from './workloads.js';

const here = fileURLToPath(new URL('.', import.meta.url));
export const root = join(here, '../..');

export interface Place {
  python: string;
  models: string;
  threads: number;
}

export interface Timing {
  seconds: number;
  min_s: number;
  max_s: number;
  /** Absent where a process is timed from outside. */
  peak_rss_mb?: number;
}

/** A backend that is asked for is taken or the process fails: nothing else can be timed by mistake. */
const QUIET_NATIVE = ['--backend', 'tensorflow', '--quiet'];

/** Tokens that a start-up generates, so that it is mostly start-up; and how often it is timed in a turn. */
const STARTUP_TOKENS = 16;
const STARTUP_REPEATS = 3;

/** Python's versions of torch and transformers. @throws Error in one line where they are not there */
export function pythonVersions(python: string): { python: string; torch: string; transformers: string } {
  const code =
    'import json, platform, torch, transformers; print(json.dumps(dict(python=platform.python_version(), torch=torch.__version__, transformers=transformers.__version__)))';
  const { status, stdout, stderr, error } = spawnSync(python, ['-c', code], { encoding: 'utf8' });
  if (status === 0) return JSON.parse(stdout);
  const why = error ? error.message : stderr.trim().split('\n').at(-1);
  throw new Error(
    `the comparison needs Python with torch and transformers (${why}); pip install torch transformers, or name another with --python`,
  );
}

/** tcmalloc's shared library, where the dynamic linker knows one. */
export function findTcmalloc(): string | undefined {
  const { stdout } = spawnSync('ldconfig', ['-p'], { encoding: 'utf8' });
  return /=> (\S*libtcmalloc(?:_minimal)?\.so\S*)/.exec(stdout ?? '')?.[1];
}

/** Makes the models that are not there yet, with PyTorch: random weights, the same for both sides. */
export async function makeModels({ python, models }: Place, names: readonly (keyof typeof shapes)[]) {
  writePrompts(models);
  const missing = names.filter((name) => !existsSync(join(models, name, 'model.safetensors')));
  if (missing.length === 0) return;
  const entries = missing.map((name) => `${name}:${shapes[name]}`);
  await run(python, [join(here, 'make_models.py'), models, ...entries]);
}

/** The prompts that both sides read: one file a count, of ids that every model has. */
export function writePrompts(models: string): void {
  mkdirSync(models, { recursive: true });
  const vocab = Math.min(...Object.values(shapes).map((shape) => Number(shape.split(',')[3])));
  for (const count of promptCounts) {
    const rows = randomRows(vocab, count, PROMPT_TOKENS, 'prompts');
    const lines = rows.map((ids) => `${JSON.stringify({ ids: Array.from(ids) })}\n`);
    writeFileSync(join(models, promptFile(count)), lines.join(''));
  }
}

/** Compiles the package, for the start-up of what users install. */
export async function buildPackage(): Promise<void> {
  await run('npm', ['run', '-s', 'build']);
}

/** Does the work of a side once, in a process of its own. `preload`: a library that replaces its allocator. */
export async function timeSide(side: Side, place: Place, preload?: string): Promise<Timing> {
  const threads = String(place.threads);
  const env = preload === undefined ? {} : { LD_PRELOAD: preload };
  if ('wall' in side) return timeWall(side.wall, place, env);
  const given = ('ours' in side ? side.ours : side.theirs).map((word) =>
    word.replace(/^\{(.+)\}$/, (_, name) => join(place.models, name)),
  );
  const [program, args] =
    'ours' in side
      ? [process.execPath, [...minillm('source'), 'bench', ...given, '--json', ...QUIET_NATIVE]]
      : [place.python, [join(here, 'torch_bench.py'), ...given]];
  return JSON.parse(await run(program, [...args, '--threads', threads], env)) as Timing;
}

async function timeWall(how: 'source' | 'built' | 'python', place: Place, env: object): Promise<Timing> {
  const model = join(place.models, 'small');
  const [tokens, threads, prompts] = [
    String(STARTUP_TOKENS),
    String(place.threads),
    join(place.models, promptFile(1)),
  ];
  const ours = ['generate', '--model', model, '--input', prompts, '--max-new-tokens', tokens];
  const [program, args] =
    how === 'python'
      ? [place.python, [join(here, 'torch_generate.py'), model, prompts, tokens, threads]]
      : [process.execPath, [...minillm(how), ...ours, '--ignore-eos', '--threads', threads, ...QUIET_NATIVE]];
  const seconds: number[] = [];
  for (let i = 0; i < STARTUP_REPEATS; i++) {
    const from = performance.now();
    const written = JSON.parse(await run(program, args, env)) as { ids: number[] };
    if (written.ids.length !== STARTUP_TOKENS) throw new Error(`${how}: ${written.ids.length} tokens`);
    seconds.push((performance.now() - from) / 1000);
  }
  return { seconds: median(seconds), min_s: Math.min(...seconds), max_s: Math.max(...seconds) };
}

function minillm(how: 'source' | 'built'): string[] {
  return how === 'source'
    ? ['--import', 'tsx', join(root, 'src/cli/main.ts')]
    : [join(root, 'dist/cli/main.js')];
}

/** Standard output of a process. @throws Error with its last line on standard error when it fails */
function run(program: string, args: string[], env: object = {}): Promise<string> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      err += text;
    });
    child.on('error', fail);
    child.on('close', (code, signal) => {
      const last = err.trim().split('\n').at(-1);
      if (code === 0) done(out);
      else fail(new Error(`${program} ${args.join(' ')}: ${signal ?? `exit code ${code}`}: ${last}`));
    });
  });
}
