import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createProgram, everyCommand } from '../../src/cli/program.js';
import { initBackend } from '../../src/tensor/backend.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, jsonl, writeFileWorld, writeTinyModel } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { tinystories, tinystoriesAbsent } from '../models/fixtures.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('outputs');
const at = (name: string): string => join(place.path, name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

type Row = Record<string, unknown> & {
  index: number;
  sample: number;
  ids: number[];
  text: string | null;
  logprobs: number[];
  finished: boolean;
  teacher_logprobs?: number[];
  importance_weights?: number[];
};

async function generate(rows: unknown[], ...more: string[]): Promise<Row[]> {
  writeFileSync(at('input.jsonl'), jsonl(rows));
  const args = [
    '--model',
    world.student,
    '--input',
    at('input.jsonl'),
    '--max-new-tokens',
    '6',
    '--backend',
    'wasm',
  ];
  const result = await runInProcess('generate', ...args, ...more);
  expect(result.code, result.stderr).toBe(0);
  return parseLines(result.stdout);
}

/** Every line of standard output must be JSON. */
function parseLines(stdout: string): Row[] {
  expect(stdout.endsWith('\n')).toBe(true);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
}

describe('generate', () => {
  const rows = [{ prompt: 'abc:' }, { ids: [3, 4, 5, 6, 7] }, { prompt: 'h:' }, { ids: [9] }];

  it('JSONL in the order of the input, samples of a prompt one after the other', async () => {
    const found = await generate(rows, '--samples', '2', '--batch-size', '3');
    expect(found.map((row) => [row.index, row.sample])).toEqual(
      [0, 1, 2, 3].flatMap((i) => [
        [i, 0],
        [i, 1],
      ]),
    );
    for (const row of found) {
      expect(Object.keys(row)).toEqual(['index', 'sample', 'ids', 'text', 'logprobs', 'finished']);
      expect(row.logprobs).toHaveLength(row.ids.length);
      expect(row.finished).toBe(row.ids.at(-1) === 0);
      expect(row.logprobs.every((x) => x < 0)).toBe(true);
    }
  });

  it('no result depends on the batch size; the seed decides', async () => {
    const ids = async (...more: string[]): Promise<number[][]> =>
      (await generate(rows, ...more)).map((row) => row.ids);
    const first = await ids('--seed', '5', '--batch-size', '1');
    expect(await ids('--seed', '5', '--batch-size', '8')).toEqual(first);
    expect(await ids('--seed', '6')).not.toEqual(first);
    const greedy = await ids('--greedy', '--seed', '1');
    expect(await ids('--greedy', '--seed', '2')).toEqual(greedy);
    expect(await ids('--top-k', '1', '--seed', '2')).toEqual(greedy);
  });

  it('penalties, forbidden n-grams and min-p; a response ends with the token that completes a text', async () => {
    const once = await generate(rows, '--forbid-ngrams', '1', '--ignore-eos');
    for (const { ids } of once) expect(new Set(ids).size).toBe(ids.length);
    const greedy = await generate(rows, '--greedy');
    expect((await generate(rows, '--min-p', '0.9999')).map((row) => row.ids)).toEqual(
      greedy.map((row) => row.ids),
    );
    const other = await generate(rows, '--greedy', '--repetition-penalty', '5');
    expect(other.map((row) => row.ids)).not.toEqual(greedy.map((row) => row.ids));
    const plain = await generate(rows, '--ignore-eos');
    const letter = plain[0]!.text!.trim()[0]!;
    const stopped = await generate(rows, '--ignore-eos', '--stop', letter, '--stop', 'not there');
    expect(stopped[0]!.finished).toBe(true);
    expect(stopped[0]!.text).toContain(letter);
    expect(plain[0]!.ids.slice(0, stopped[0]!.ids.length)).toEqual(stopped[0]!.ids);
  });

  it('ends at the end token unless told to go on', async () => {
    const many = Array.from({ length: 30 }, (_, i) => ({ ids: [1 + (i % 14)] }));
    const ended = await generate(many);
    expect(new Set(ended.map((row) => row.finished))).toEqual(new Set([true, false]));
    const endless = await generate(many, '--ignore-eos');
    expect(new Set(endless.map((row) => row.ids.length))).toEqual(new Set([6]));
    expect(endless.some((row) => row.finished)).toBe(false);
  });

  it('mixed with a teacher: its log-probabilities and the importance weights', async () => {
    const found = await generate(rows, '--mix-with', world.teacher, '--alpha', '0.4');
    for (const row of found) {
      row.ids.forEach((_, t) => {
        const [q, p] = [Math.exp(row.logprobs[t]!), Math.exp(row.teacher_logprobs![t]!)];
        expect(row.importance_weights![t]).toBeCloseTo(q / (0.4 * p + 0.6 * q), 5);
      });
    }
    // Another padding of the same vocabulary is no obstacle.
    const padded = await generate(rows, '--mix-with', world.secondTeacher);
    expect(Math.max(...padded.flatMap((row) => row.ids))).toBeLessThan(15);
    for (const w of padded.flatMap((row) => row.importance_weights!))
      expect(w).toBeLessThanOrEqual(1.25 + 1e-5);
  });

  it('rows of ids need no tokenizer', async () => {
    const bare = at('bare');
    await writeTinyModel(bare, 1);
    for (const name of ['tokenizer.json', 'tokenizer_config.json']) rmSync(join(bare, name));
    const ids = rows.filter((row) => row.ids);
    const found = await generate(ids, '--model', bare, '--mix-with', world.teacher);
    expect(found.map((row) => row.text)).toEqual([null, null]);
    expect(found.map((row) => row.ids)).toEqual(
      (await generate(ids, '--mix-with', world.teacher)).map((row) => row.ids),
    );
  });

  it('the text is that of the ids', async () => {
    const [row] = await generate([{ ids: [4] }], '--greedy', '--ignore-eos');
    expect(row!.text).toMatch(/^[a-h :\n]*$/);
    const letters = row!.ids.filter((id) => id >= 4 && id < 12).map((id) => 'abcdefgh'[id - 4]);
    for (const letter of letters) expect(row!.text).toContain(letter);
  });
});

describe('score', () => {
  it('JSONL in the order of the input, whatever shares a batch', async () => {
    const rows = [{ ids: [3, 4, 5, 6, 7] }, { ids: [9, 1] }, { prompt: 'ab:', response: 'ba' }];
    writeFileSync(at('score.jsonl'), jsonl(rows));
    const args = ['score', '--model', world.student, '--input', at('score.jsonl'), '--backend', 'wasm'];
    const result = await runInProcess(...args);
    expect(result.code).toBe(0);
    const found = parseLines(result.stdout);
    expect(found.map((row) => row.ids)).toEqual([[3, 4, 5, 6, 7], [9, 1], expect.any(Array)]);
    for (const row of found) expect(row.logprobs).toHaveLength(row.ids.length - 1);
  });

  it('agrees with what generate says of its own tokens', async () => {
    const [row] = await generate([{ ids: [3, 8] }], '--ignore-eos');
    writeFileSync(at('again.jsonl'), jsonl([{ ids: [3, 8, ...row!.ids] }]));
    const { stdout } = await runInProcess(
      'score',
      '--model',
      world.student,
      '--input',
      at('again.jsonl'),
      '--backend',
      'wasm',
      '--quiet',
    );
    parseLines(stdout)[0]!
      .logprobs.slice(1)
      .forEach((x, t) => {
        expect(x).toBeCloseTo(row!.logprobs[t]!, 5);
      });
  });
});

describe('eval', () => {
  const args = () => [
    'eval',
    '--model',
    world.student,
    '--data',
    world.valid,
    '--template',
    'none',
    '--seeds',
    '1,2',
    '--max-new-tokens',
    '5',
    '--backend',
    'wasm',
  ];

  it('one JSON value: every metric with mean, standard error and n', async () => {
    const result = await runInProcess(...args(), '--teacher', world.teacher);
    expect(result.code, result.stderr).toBe(0);
    const found = JSON.parse(result.stdout) as {
      prompts: number;
      dropped: number;
      seeds: number[];
      metrics: Record<string, Record<string, number>>;
    };
    expect(found).toMatchObject({ prompts: 4, dropped: 0, seeds: [1, 2] });
    expect(Object.keys(found.metrics)).toEqual(
      expect.arrayContaining([
        'rouge_l_sampled',
        'rouge_l_greedy',
        'exact_match',
        'reverse_kl_seq',
        'reverse_kl_token',
        'forward_kl_seq',
        'lm_loss',
        'length',
        'ended',
        'distinct_4',
        'ece',
      ]),
    );
    for (const summary of Object.values(found.metrics)) {
      expect(Number.isFinite(summary.mean)).toBe(true);
      expect(summary).toHaveProperty('stderr');
      expect(summary).toHaveProperty('n');
    }
  });

  it('only what is asked for; without a teacher only what needs none', async () => {
    const asked = await runInProcess(...args(), '--metrics', 'lm_loss,length', '--quiet');
    expect(asked.stderr).toBe('');
    expect(Object.keys((JSON.parse(asked.stdout) as { metrics: object }).metrics)).toEqual([
      'lm_loss',
      'length',
    ]);
    const alone = JSON.parse((await runInProcess(...args())).stdout) as { metrics: Record<string, unknown> };
    expect(alone.metrics).toHaveProperty('rouge_l_greedy');
    expect(alone.metrics).not.toHaveProperty('reverse_kl_seq');
  });

  it('keeps the responses beside the run: one more metric decodes nothing again', async () => {
    const run = at('evaluated');
    const ask = (...more: string[]) =>
      runInProcess(...args(), '--teacher', world.teacher, '--run', run, ...more);
    const first = await ask('--metrics', 'length,forward_kl_seq');
    expect(first.stderr).toMatch(/sampling, seed 1 .*teacher samples, seed 2 /s);
    expect(readdirSync(join(run, 'generations'))).toHaveLength(4);
    const second = await ask('--metrics', 'reverse_kl_k3,ex_acc_err,repetition,length');
    expect(second.stderr).not.toMatch(/sampling|samples/);
    const of = (result: { stdout: string }) =>
      (JSON.parse(result.stdout) as { metrics: Record<string, object> }).metrics;
    expect(of(second).length).toEqual(of(first).length);
    expect(Object.keys(of(second))).toEqual(['reverse_kl_k3', 'ex_acc_err', 'repetition', 'length']);
    const written = JSON.parse(readFileSync(join(run, 'evaluation.json'), 'utf8')) as Record<string, object>;
    expect(written).toMatchObject({ model: 'evaluated', prompts: 4, seeds: [1, 2], data: 'valid.jsonl' });
    expect(Object.keys(written.curves!)).toEqual(['exposure_bias', 'length']);
    // A student of the same teacher finds the teacher's responses; without a cache everything is made again.
    const other = ['--model', world.secondTeacher, '--cache', join(run, 'generations')];
    const third = await ask('--metrics', 'length,forward_kl_seq', ...other);
    expect(third.stderr).toContain('sampling, seed 1');
    expect(third.stderr).not.toContain('teacher samples');
    expect((await ask('--metrics', 'length', '--no-cache')).stderr).toContain('sampling, seed 1');
  });

  it('without references measures what needs none, and says what it leaves out', async () => {
    writeFileSync(at('questions.jsonl'), jsonl([{ turns: ['ab:'] }, { turns: ['cd:'] }]));
    const result = await runInProcess(...args(), '--data', at('questions.jsonl'));
    const { metrics } = JSON.parse(result.stdout) as { metrics: Record<string, unknown> };
    expect(Object.keys(metrics)).toEqual(
      expect.arrayContaining(['length', 'ended', 'sample_diversity', 'distinct_1']),
    );
    expect(metrics).not.toHaveProperty('lm_loss');
    expect(result.stderr).toMatch(
      /rouge_l_sampled, .*lm_loss, ece: not measured, need a reference answer in every row of the data\n/,
    );
    const asked = await runInProcess(...args(), '--data', at('questions.jsonl'), '--metrics', 'lm_loss');
    expect(asked).toMatchObject({ code: 2, stdout: '' });
    expect(asked.stderr).toContain('metric lm_loss needs a reference answer in every row of the data\n');
  });
});

describe.skipIf(tinystoriesAbsent !== undefined)(
  'the paper’s evaluation sets as published (skipped without ../shared/data)',
  () => {
    it.each([
      ['dolly-dev-1000.jsonl', true],
      ['dolly-test-500.jsonl', true],
      ['self-instruct-252.jsonl', true],
      ['vicuna-80.jsonl', false],
      ['vicuna-80-with-outputs.jsonl', true],
    ])('%s', async (name, referenced) => {
      const rows = readFileSync(join(tinystories, '../eval', name), 'utf8')
        .split('\n')
        .slice(0, 3);
      // S-NI and UnNI come in this shape too, with several references.
      const more = JSON.stringify({ instruction: 'Say it.', input: 'yes', output: ['yes', 'Yes.'] });
      writeFileSync(at(name), `${rows.join('\n')}\n${referenced ? `${more}\n` : ''}`);
      const result = await runInProcess(
        ...['eval', '--model', tinystories, '--data', at(name), '--seeds', '10', '--max-new-tokens', '3'],
        ...['--max-prompt-tokens', '500', '--backend', 'wasm', '--quiet'],
      );
      expect(result.code, result.stderr).toBe(0);
      const found = JSON.parse(result.stdout) as { prompts: number; dropped: number; metrics: object };
      expect(found.prompts + found.dropped).toBe(referenced ? 4 : 3);
      expect('rouge_l_sampled' in found.metrics).toBe(referenced);
      expect(found.metrics).toHaveProperty('length');
    });
  },
);

describe('help', () => {
  const leaves = everyCommand(createProgram()).filter((command) => command.commands.length === 0);

  it.each(leaves.map((command) => [pathOf(command)] as const))(
    '%j shows an example of itself',
    async (path) => {
      const result = await runInProcess(...path, '--help');
      expect(result).toMatchObject({ code: 0, stderr: '' });
      const example = result.stdout.split(/Examples?:\n/)[1];
      expect(example, 'has an example').toBeDefined();
      expect(example).toContain(`minillm ${path.join(' ')}`);
      for (const flag of ['--backend', '--threads', '--quiet', '--debug'])
        expect(result.stdout).toContain(flag);
    },
  );

  it('the program lists its commands; without one it says so with exit code 2', async () => {
    const asked = await runInProcess('--help');
    expect(asked).toMatchObject({ code: 0, stderr: '' });
    for (const [path] of leaves.map((command) => [pathOf(command)[0]!]))
      expect(asked.stdout).toContain(`  ${path}`);
    const bare = await runInProcess();
    expect(bare).toMatchObject({ code: 2, stdout: '' });
    expect(bare.stderr).toContain('Usage: minillm');
  });
});

function pathOf(command: { name(): string; parent: unknown }): string[] {
  const parent = command.parent as typeof command | null;
  return parent ? [...pathOf(parent), command.name()] : [];
}
