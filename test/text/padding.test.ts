import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, jsonl, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('padding');
const at = (name: string): string => join(place.path, name);
let world: FileWorld;

/** A copy of a model whose tokenizer has one token more, id 15, than the model has rows; `<pad>` as Llama 2 users add it. */
function withToken(from: string, name: string, token: string): string {
  cpSync(from, at(name), { recursive: true });
  const edit = (file: string, change: (json: Record<string, unknown>) => void): void => {
    const json = JSON.parse(readFileSync(join(at(name), file), 'utf8'));
    change(json);
    writeFileSync(join(at(name), file), JSON.stringify(json));
  };
  edit('tokenizer.json', (json) => {
    const added = (json.added_tokens as object[]) ?? [];
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
    json.added_tokens = [...added, { id: 15, content: token, ...flags }];
  });
  if (token === '<pad>') edit('tokenizer_config.json', (json) => Object.assign(json, { pad_token: token }));
  return at(name);
}

let padded: string;
let foreign: string;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  padded = withToken(world.student, 'padded', '<pad>');
  foreign = withToken(world.student, 'foreign', '<extra>');
  writeFileSync(at('prompts.jsonl'), jsonl([{ prompt: 'ab:' }]));
  writeFileSync(at('pairs.jsonl'), jsonl([{ prompt: 'ab:', response: 'ba' }]));
});
afterAll(place.remove);

const wasm = ['--backend', 'wasm', '--quiet'];
/** Every command that encodes text for a model. */
const commands: [string, (model: string) => string[]][] = [
  [
    'train',
    (model) => {
      const change = { student: model, train: { steps: 1, warmup: 0 }, eval: { every: 0 } };
      const name = model === padded ? 'train-padded' : 'train-foreign';
      return ['train', writeConfig(at(`${name}.yaml`), worldConfig(world, 'kd', change)), '--out', at(name)];
    },
  ],
  [
    'eval',
    (model) => [
      'eval',
      '--model',
      model,
      '--data',
      world.valid,
      '--template',
      'none',
      '--metrics',
      'lm_loss',
    ],
  ],
  [
    'generate',
    (model) => ['generate', '--model', model, '--input', at('prompts.jsonl'), '--max-new-tokens', '2'],
  ],
  ['score', (model) => ['score', '--model', model, '--input', at('pairs.jsonl')]],
  [
    'inspect',
    (model) => [
      'inspect',
      '--student',
      model,
      '--teacher',
      model,
      '--prompts',
      at('prompts.jsonl'),
      '--max-new-tokens',
      '2',
      '--json',
    ],
  ],
  [
    'variance',
    (model) => [
      'variance',
      '--student',
      model,
      '--teacher',
      model,
      '--data',
      world.valid,
      '--template',
      'none',
      '--prompts',
      '2',
      '--samples',
      '2',
      '--repeats',
      '2',
      '--max-new-tokens',
      '2',
      '--estimators',
      'preset/minillm',
      '--json',
    ],
  ],
];

describe('a padding token that the model has no row for', () => {
  it.each(commands)('%s: is never fed, so it does not matter', async (_, args) => {
    const result = await runInProcess(...args(padded), ...wasm);
    expect(result.code, result.stderr).toBe(0);
  });

  it('does not count, and is no difference between two tokenizers', async () => {
    const [own, other] = [await loadTokenizer(padded), await loadTokenizer(world.teacher)];
    expect([own.vocabSize, own.padId, own.fingerprint]).toEqual([15, 0, other.fingerprint]);
    expect((await loadTokenizer(foreign)).fingerprint).not.toBe(other.fingerprint);
  });

  it('inside a text is refused in words', async () => {
    writeFileSync(at('spoken.jsonl'), jsonl([{ prompt: 'ab<pad>:' }]));
    const result = await runInProcess('generate', '--model', padded, '--input', at('spoken.jsonl'), ...wasm);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(
      '"ab<pad>:" holds the padding token, id 15, which the model has no row for',
    );
  });
});

describe('any other token that the model has no row for', () => {
  it.each([...commands, ['serve', (model: string) => ['serve', model, '--port', '0']] as const])(
    '%s: refused by name',
    async (_, args) => {
      const result = await runInProcess(...args(foreign), ...wasm);
      expect(result).toMatchObject({ code: 2, stdout: '' });
      expect(result.stderr).toMatch(
        /different tokenizers|the tokenizer has 16 tokens and a model only 15 \(the model has no row for "<extra>"\)/,
      );
    },
  );
});
