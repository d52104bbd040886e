import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, jsonl, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('selection');
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

const program = (...args: string[]) => runInProcess(...args, '--backend', 'wasm');

describe('a best/ that nobody trained', () => {
  it('references without words: on the console at once, in the summary, by eval, in the report', async () => {
    const rows = ['猫', '…', 'مرحبا', 'ab'].map((output) => ({ instruction: 'ab:', output }));
    writeFileSync(join(place.path, 'wordless.jsonl'), jsonl(rows));
    const valid = join(place.path, 'wordless.jsonl');
    // The tiny tokenizer has no other letters: the references are encoded as nothing but the end token.
    const change = { data: { valid }, train: { steps: 2, lr: 1e-9 }, eval: { every: 1 } };
    const config = writeConfig(join(place.path, 'kd.yaml'), worldConfig(world, 'kd', change));
    const out = join(place.path, 'kd');
    const trained = await program('train', config, '--out', out, '--json');
    expect(trained.code, trained.stderr).toBe(0);
    const line =
      /Rouge-L reads the letters a-z and the digits only: 3 of 4 validation rows have no reference/;
    expect(trained.stderr).toMatch(line);
    expect(trained.stderr.search(line)).toBeLessThan(trained.stderr.indexOf('validation at step 0'));
    expect(trained.stderr).toMatch(/validation at step 2: rouge_l_sampled \d/);
    const { notes, best } = JSON.parse(trained.stdout) as { notes: string[]; best: { step: number } };
    expect(best.step).toBe(0); // nothing was learnt at this learning rate
    expect(notes).toEqual([
      expect.stringMatching(line),
      expect.stringContaining('best/ is the student before training'),
    ]);
    const page = readFileSync(join(out, 'report.html'), 'utf8');
    expect(page).toContain('best/ is the student before training');
    expect(page).toContain('3 of 4 validation rows have no reference');

    const args = ['--data', valid, '--template', 'none', '--seeds', '1', '--metrics', 'rouge_l_sampled'];
    const best0 = await program('eval', '--model', join(out, 'best'), ...args, '--max-new-tokens', '3');
    expect(best0.code, best0.stderr).toBe(0);
    expect(best0.stderr).toContain(`${join(out, 'best')}: best/ is the student before training`);
    expect(JSON.parse(best0.stdout)).toMatchObject({
      references_without_words: 3,
      notes: [expect.stringContaining('before training'), expect.stringContaining('3 of 4 rows')],
    });
    const final = await program('eval', '--model', join(out, 'final'), ...args, '--max-new-tokens', '3');
    expect(final.stderr).not.toContain('before training');

    const change2 = { student: join(out, 'best'), train: { steps: 0, warmup: 0 } };
    const next = writeConfig(join(place.path, 'next.yaml'), worldConfig(world, 'sft', change2));
    const after = await program('train', next, '--out', join(place.path, 'next'));
    expect(after.stderr).toContain(`note: student ${join(out, 'best')}: best/ is the student before`);
  });

  it('says nothing where training was better, and references have words', async () => {
    const change = { train: { steps: 6, lr: 0.05 }, eval: { every: 2 } };
    const config = writeConfig(join(place.path, 'sft.yaml'), worldConfig(world, 'sft', change));
    const out = join(place.path, 'sft');
    const trained = await program('train', config, '--out', out, '--json');
    expect(JSON.parse(trained.stdout)).toMatchObject({ notes: [] });
    expect(trained.stderr).toMatch(/validation at step \d: lm_loss [\d.]+ \(best\)/);
    const args = [
      '--data',
      world.valid,
      '--template',
      'none',
      '--seeds',
      '1',
      '--metrics',
      'rouge_l_sampled',
    ];
    const result = await program('eval', '--model', join(out, 'best'), ...args, '--max-new-tokens', '3');
    expect(Object.keys(JSON.parse(result.stdout))).toEqual(['prompts', 'dropped', 'seeds', 'metrics']);
  });
});
