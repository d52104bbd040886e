import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { withRunDate } from '../../src/runs/runDate.js';
import { initBackend } from '../../src/tensor/backend.js';
import { isDate, today } from '../../src/text/date.js';
import { trainConfigSchema } from '../../src/training/config.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, jsonl, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('run-date');
const at = (name: string): string => join(place.path, name);
let world: FileWorld;
let student: string;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  student = at('dated');
  cpSync(world.student, student, { recursive: true });
  // The day of the month as so many letters, so that the tiny vocabulary has tokens for it.
  writeFileSync(
    join(student, 'chat_template.jinja'),
    "{% for i in range(strftime_now('%d') | int) %}a{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}:",
  );
});
afterAll(place.remove);

describe('a chat template that writes the date', () => {
  it('one date in a run: said, kept in the run directory, and the same after a resume on another day', async () => {
    const data = { template: 'chat', max_prompt_tokens: 12, max_tokens: 20 };
    const fields = worldConfig(world, 'sft', { student, data, train: { steps: 2, warmup: 0 } });
    const config = writeConfig(at('config.yaml'), fields);
    const out = at('run');
    const train = (...more: string[]) =>
      runInProcess('train', config, '--backend', 'wasm', '--out', out, ...more);
    const first = await train('--set', 'data.date=2020-01-03');
    expect(first.code, first.stderr).toBe(0);
    expect(first.stderr).not.toContain('writes the date');
    const resolved = join(out, 'config.resolved.yaml');
    expect(parse(readFileSync(resolved, 'utf8')).data.date).toBe('2020-01-03');
    const second = await train('--resume');
    expect(second.code, second.stderr).toBe(0);
    expect(second.stderr).toContain('the chat template writes the date: 2020-01-03 in this whole run');
    expect(stringify(parse(readFileSync(resolved, 'utf8')))).toContain('date: 2020-01-03');
  });

  it('the day of the first start, where nothing names one', async () => {
    const data = { train: 'x', valid: 'x', template: 'chat' };
    const config = trainConfigSchema.parse({ method: 'sft', student, data, train: { steps: 1, lr: 1 } });
    const said: string[] = [];
    const { date } = (await withRunDate(config, at('absent'), (line) => said.push(line))).data;
    expect(date).toBe(today());
    expect(said).toEqual([expect.stringContaining(`writes the date: ${date}`)]);
    const plain = { ...config, student: world.student };
    expect(await withRunDate(plain, at('absent'), () => {})).toBe(plain);
  });

  it('generate says which, and takes another', async () => {
    writeFileSync(at('chats.jsonl'), jsonl([{ messages: [{ role: 'user', content: 'b' }] }]));
    const args = ['--model', student, '--input', at('chats.jsonl'), '--max-new-tokens', '2'];
    const generate = (...more: string[]) => runInProcess('generate', ...args, '--backend', 'wasm', ...more);
    const given = await generate('--date', '2020-01-03');
    expect(given.code, given.stderr).toBe(0);
    expect(given.stderr).toContain('the chat template writes the date: 2020-01-03');
    const other = await generate('--date', '2020-01-05');
    expect(other.stdout).not.toBe(given.stdout);
    const day = (await generate('--date', '2020-02-30')).stderr;
    expect(day).toContain('expected a date as 2026-01-31');
    expect(isDate('2020-01-03')).toBe(true);
  });
});
