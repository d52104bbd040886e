import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { stringify } from 'yaml';
import { saveModel } from '../../src/models/checkpoint.js';
import { type FamilyName, newModelConfig } from '../../src/models/families.js';
import { initModel } from '../../src/models/model.js';
import { integer, type Rng, stream } from '../../src/random/streams.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { endOfText, saveTokenizer } from '../../src/text/tokenizer-files.js';
import { oneLine, verdict } from './rows.js';

const emulated = Boolean(process.env.MINILLM_CUDA_EMULATOR);

/** Layers, width, heads of student and teacher, and tokens of the vocabulary. */
const SIZES = emulated
  ? { student: [1, 16, 2], teacher: [1, 16, 2], vocab: 15 }
  : { student: [4, 256, 4], teacher: [6, 512, 4], vocab: 4096 };

/** As experiments/smoke on a card. */
const SETTINGS = emulated
  ? {
      train: { steps: 6, batch_size: 4, lr: 0.01 },
      rollout: { rollouts: 8, inner_epochs: 2, max_new_tokens: 5 },
      pretrain: { length: 6, batch_size: 2 },
      eval: { every: 3, prompts: 4 },
      checkpoint: { every: 2, keep: 2 },
    }
  : {
      train: { steps: 20, batch_size: 16, lr: 5e-4, schedule: 'constant', warmup: 4 },
      rollout: { rollouts: 32, inner_epochs: 2, max_new_tokens: 32 },
      pretrain: { length: 64, batch_size: 8 },
      eval: { every: 10, prompts: 32 },
      checkpoint: { every: 3, keep: 3 },
    };

/**
 * The part `smoke`: a MiniLLM run in one precision, once more, and once killed (SIGKILL) and resumed. All three must end with the same student
 * and the same log, byte by byte.
 */
export async function smoke(precision = 'float32'): Promise<void> {
  const place = mkdtempSync(join(tmpdir(), 'minillm-smoke-'));
  try {
    const config = await writeWorld(place);
    const run = (name: string, ...more: string[]): Running =>
      train([
        config,
        '--out',
        join(place, name),
        '--backend',
        'cuda',
        '--precision',
        precision,
        '--quiet',
        ...more,
      ]);
    const started = performance.now();
    await finished(run('whole'));
    const seconds = (performance.now() - started) / 1000;
    const whole = outcome(join(place, 'whole'));
    const note = `${SETTINGS.train.steps} steps, ${seconds.toFixed(1)} s, student ${whole.student.slice(0, 16)}`;
    await finished(run('again'));
    compare('twice', whole, outcome(join(place, 'again')), note);
    const killed = run('killed');
    const rows = await killAfter(killed, join(place, 'killed'), Math.ceil(SETTINGS.train.steps / 2));
    await finished(run('killed', '--resume'));
    compare('killed and resumed', whole, outcome(join(place, 'killed')), `killed after step ${rows}`);
  } catch (error) {
    verdict('runs', false, oneLine(error));
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

interface Outcome {
  student: string;
  log: string;
}

function compare(what: string, a: Outcome, b: Outcome, note: string): void {
  const same = a.student === b.student && a.log === b.log;
  const how =
    a.student === b.student
      ? 'the logs differ'
      : `students ${a.student.slice(0, 16)} and ${b.student.slice(0, 16)}`;
  verdict(what, same, same ? note : `${how}; ${note}`);
}

/** SHA-256 of the student that a run ended with, and of its log without the times. */
function outcome(directory: string): Outcome {
  const sha = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
  const log = readFileSync(join(directory, 'metrics.jsonl'), 'utf8').replace(/"wall_s":[\d.]+/g, '');
  return { student: sha(readFileSync(join(directory, 'final/model.safetensors'))), log: sha(log) };
}

/** Random models and random words, from seeds; the path of a configuration on them. */
async function writeWorld(place: string): Promise<string> {
  await initBackend({ backend: 'cpu' });
  const tokenizer = join(place, 'tokenizer');
  const vocab = [endOfText, 'Ġ', 'Ċ', ':', ...LETTERS];
  const merges = mergesFor(SIZES.vocab - vocab.length);
  saveTokenizer(tokenizer, { vocab: [...vocab, ...merges.map((pair) => pair.join(''))], merges });
  const vocabSize = vocab.length + merges.length;
  const save = async (name: 'student' | 'teacher', family: FamilyName, seed: number): Promise<string> => {
    const [layers, hiddenSize, heads] = SIZES[name] as [number, number, number];
    const shape = { vocabSize, hiddenSize, layers, heads, maxPositions: 256, tiedHead: true, eosId: 0 };
    const model = initModel(
      { ...newModelConfig(family, shape), initStd: name === 'teacher' ? 0.1 : 0.02 },
      seed,
    );
    await saveModel(join(place, name), model, { tokenizerFrom: tokenizer });
    disposeParams(model.params);
    return join(place, name);
  };
  const [student, teacher] = [await save('student', 'gpt2', 1), await save('teacher', 'llama', 2)];
  const rng = stream(1, 'smoke');
  const write = (name: string, text: string): string => {
    writeFileSync(join(place, name), text);
    return join(place, name);
  };
  const lines = (n: number): string =>
    Array.from({ length: n }, () =>
      JSON.stringify({ instruction: `${words(rng, 2)}:`, output: words(rng, 2) }),
    ).join('\n');
  const data = {
    train: write('train.jsonl', lines(64)),
    valid: write('valid.jsonl', lines(32)),
    corpus: write('corpus.txt', Array.from({ length: 200 }, () => words(rng, 4)).join('\n\n')),
    template: 'none',
    max_prompt_tokens: 48,
    max_tokens: 80,
  };
  return write(
    'minillm.yaml',
    stringify({ method: 'minillm', seed: 1, student, teacher, data, ...SETTINGS }),
  );
}

const LETTERS = [...'abcdefgh'];

/** Letters joined to pairs, these to triples, and so on, until there are `count`. */
function mergesFor(count: number): [string, string][] {
  const merges: [string, string][] = [];
  let parts = LETTERS;
  while (merges.length < count) {
    const longer = parts.flatMap((a) => LETTERS.map((b): [string, string] => [a, b]));
    merges.push(...longer.slice(0, count - merges.length));
    parts = longer.map((pair) => pair.join(''));
  }
  return merges;
}

const words = (rng: Rng, count: number): string =>
  Array.from({ length: count }, () =>
    Array.from({ length: 2 + integer(rng, 2) }, () => LETTERS[integer(rng, 8)]).join(''),
  ).join(' ');

type Running = ReturnType<typeof spawn>;

function train(args: string[]): Running {
  const program = [...process.execArgv, process.argv[1]!];
  return spawn(process.execPath, [...program, 'train', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
}

async function finished(running: Running): Promise<void> {
  let said = '';
  running.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const code = await new Promise((resolve) => running.on('close', resolve));
  if (code !== 0) throw new Error(`a run ended with status ${code}: ${oneLine(said)}`);
}

/** Kills a run as soon as it has logged so many steps. @returns the steps that it had logged */
async function killAfter(running: Running, out: string, steps: number): Promise<number> {
  const closed = new Promise((resolve) => running.on('close', resolve));
  const file = join(out, 'metrics.jsonl');
  const logged = (): number => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0);
  while (running.exitCode === null && logged() < steps) await wait(2);
  running.kill('SIGKILL');
  await closed;
  if (running.signalCode !== 'SIGKILL') throw new Error('the run ended before it could be killed');
  return logged();
}
