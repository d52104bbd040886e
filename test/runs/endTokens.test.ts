import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whole } from '../../src/pieces.js';
import { initBackend } from '../../src/tensor/backend.js';
import { answerSampling, answers } from '../../src/training/answers.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, jsonl, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { EOS, tinyWorld, VOCAB } from '../helpers/training.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('end-tokens');
const at = (name: string): string => join(place.path, name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

/** A copy of a model whose generation_config.json names other end tokens than its tokenizer, which says 0. */
function copyWith(from: string, name: string, eos: number | number[]): string {
  cpSync(from, at(name), { recursive: true });
  writeFileSync(join(at(name), 'generation_config.json'), JSON.stringify({ eos_token_id: eos }));
  return at(name);
}

const train = (name: string, method: string, change: Record<string, unknown>) =>
  runInProcess(
    ...['train', writeConfig(at(`${name}.yaml`), worldConfig(world, method, change)), '--backend', 'wasm'],
    ...['--out', at(name)],
  );

describe('tokenizer, config.json and generation_config.json name different end tokens', () => {
  it('train says so once and saves the union, the token it trains among them', async () => {
    const student = copyWith(world.student, 'differs', 5);
    const { code, stderr } = await train('run', 'sft', { student, train: { steps: 1, warmup: 0 } });
    expect(code, stderr).toBe(0);
    expect(stderr.match(/note: .*end tokens.*/g)).toEqual([
      expect.stringMatching(
        /differs: the files name different end tokens \(tokenizer 0; .*generation_config.json 5\): a response ends at any of 5, 0, training data with 0/,
      ),
    ]);
    const saved = JSON.parse(readFileSync(join(at('run'), 'final', 'generation_config.json'), 'utf8'));
    expect(saved.eos_token_id).toEqual([5, 0]);
  });

  it('generate stops at any of them', async () => {
    writeFileSync(at('prompts.jsonl'), jsonl([{ prompt: 'abc:' }, { prompt: 'h:' }]));
    const args = ['--input', at('prompts.jsonl'), '--samples', '40', '--backend', 'wasm', '--quiet'];
    const model = copyWith(world.student, 'stops', 5);
    const { stdout } = await runInProcess(
      'generate',
      ...['--model', model, '--max-new-tokens', '12'],
      ...args,
    );
    const rows = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { ids: number[]; finished: boolean });
    const last = new Set(rows.filter((row) => row.finished).map((row) => row.ids.at(-1)));
    expect([...last].sort()).toEqual([0, 5]);
    for (const { ids } of rows) expect(ids.slice(0, -1).some((id) => id === 0 || id === 5)).toBe(false);
  });

  it('says nothing where the model names more than the tokenizer does, as chat models do', async () => {
    const student = copyWith(world.student, 'more', [5, 0]);
    const { stderr } = await train('quiet', 'sft', { student, train: { steps: 1, warmup: 0 } });
    expect(stderr).not.toContain('end token');
  });
});

describe('student and teacher end with different tokens', () => {
  it('a line at the start names both', async () => {
    const teacher = copyWith(world.teacher, 'teacher-7', 7);
    writeFileSync(join(teacher, 'tokenizer_config.json'), '{"eos_token": "d"}');
    const { code, stderr } = await train('differ', 'seqkd', { teacher, train: { steps: 1, warmup: 0 } });
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/note: teacher .*teacher-7 ends with 7, the student with 0: .* closed with 0/);
  });

  it('the teacher’s answers are cut at its own end and closed with the student’s', () => {
    const { context, dispose } = tinyWorld({ config: { method: 'seqkd' }, examples: 64 });
    const ask = (ends: number[]) => {
      const teacher = { ...context.teachers[0]!, config: { ...context.teachers[0]!.config, eosIds: ends } };
      const models = { ...context, teachers: [teacher] };
      return whole(answers(models, teacher, context.train, { ...answerSampling(context), round: 0 })).map(
        (t) => Array.from(t.responseIds),
      );
    };
    const uncut = ask([EOS]);
    const end = uncut.find((ids) => ids.length > 2)![1]!;
    const expected = uncut.map((ids) => {
      const cut = ids.indexOf(end);
      return cut < 0 ? ids : [...ids.slice(0, cut), EOS];
    });
    expect(end).toBeLessThan(VOCAB);
    expect(expected).not.toEqual(whole);
    expect(ask([end])).toEqual(expected);
    dispose();
  });
});
