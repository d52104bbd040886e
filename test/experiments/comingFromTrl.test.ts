import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type Material, makeMaterial } from '../../experiments/coming-from-trl/rows.js';
import { comparisonMarkdown, type Run, sides } from '../../experiments/coming-from-trl/tables.js';
import { loadExamples } from '../../src/data/examples.js';
import { objectiveSchema } from '../../src/objectives/presets.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { trainConfigSchema } from '../../src/training/config.js';

const root = path.resolve(import.meta.dirname, '../..');
const page = readFileSync(path.join(root, 'docs/coming-from-trl.md'), 'utf8');
const place = mkdtempSync(path.join(tmpdir(), 'coming-from-trl-'));
afterAll(() => rmSync(place, { recursive: true }));
let made: Material;
beforeAll(() => {
  const rows = Array.from({ length: 320 }, (_, i) => ({
    ...{ instruction: 'Define the word.', input: i % 2 ? `word ${i}` : '', output: `meaning ${i}` },
  }));
  made = makeMaterial(rows, place);
});
const read = (name: string, data: string) =>
  readTrainConfig(path.join(root, 'experiments/coming-from-trl', `${name}.yaml`), [
    ...[`student=${made.student}`, `teacher=${made.teacher}`, `data.train=${data}`],
  ]);

describe('docs/coming-from-trl.md', () => {
  it.each(['minillm', 'gkd'])('shows %s.yaml as it lies under experiments/', (name) => {
    const file = readFileSync(path.join(root, 'experiments/coming-from-trl', `${name}.yaml`), 'utf8');
    expect(page).toContain(`\`\`\`yaml\n${file}\`\`\``);
  });

  it('names only fields that a configuration has', () => {
    // Every `section.field` of a section that the schema has, with or without a value; paths and other pages have slashes or endings.
    const json = z.toJSONSchema(trainConfigSchema, { io: 'input', unrepresentable: 'any' }) as Schema;
    const sections = Object.keys(json.properties!);
    const named = [...page.matchAll(/`([a-z_]+)\.([a-z_]+)(?:: [^`]+)?`/g)].filter(([, section]) =>
      sections.includes(section!),
    );
    expect(named.length).toBeGreaterThan(50);
    for (const [, section, field] of named) {
      const known =
        section === 'objective' ? Object.keys(objectiveSchema.shape) : fieldsOf(json.properties![section!]!);
      expect([...known, ...(section === 'objective' ? ['preset'] : [])], `${section}.${field}`).toContain(
        field,
      );
    }
  });
});

interface Schema {
  properties?: Record<string, Schema>;
  anyOf?: Schema[];
}
const fieldsOf = (schema: Schema): string[] =>
  (schema.anyOf ?? [schema]).flatMap((branch) => Object.keys(branch.properties ?? {}));

describe("TRL's configurations, carried over", () => {
  it('MiniLLM: prompts only, its step as TRL counts it', async () => {
    const { data, train, rollout } = await read('minillm', made.prompts);
    const tokenizer = await loadTokenizer(made.student);
    const limits = {
      template: data.template,
      maxPromptTokens: data.max_prompt_tokens,
      maxTokens: data.max_tokens,
    };
    const { examples } = await loadExamples(made.prompts, tokenizer, { ...limits, outputs: 'optional' });
    expect(examples).toHaveLength(160);
    // One epoch, two responses to a prompt.
    expect((examples.length * rollout.samples) / train.batch_size).toBe(20);
  });

  it('GKD: a conversation has the tokens of the plain prompt that the pair was trained on', async () => {
    const { data } = await read('gkd', made.messages);
    expect(data.template).toBe('chat');
    const tokenizer = await loadTokenizer(made.student);
    const limits = { maxPromptTokens: data.max_prompt_tokens, maxTokens: data.max_tokens };
    const { examples } = await loadExamples(made.messages, tokenizer, { ...limits, template: 'chat' });
    const prompts = await loadExamples(made.prompts, tokenizer, {
      ...limits,
      template: 'none',
      outputs: 'optional',
    });
    expect(examples).toHaveLength(320);
    for (const i of [0, 1])
      expect(Array.from(examples[i]!.promptIds)).toEqual(Array.from(prompts.examples[i]!.promptIds));
    expect(examples[1]!.responseIds.at(-1)).toBe(tokenizer.eosId);
  });
});

it('the comparison leaves out the first step and sets ours over theirs', () => {
  const run = (scale: number): Run => ({
    ...{ seconds: [9, scale, scale], losses: [1, 2, 3], peak_rss_mb: 100 * scale, cpu_s: scale, wall_s: 10 },
  });
  const runs = Object.fromEntries(sides.map(({ name, trl }) => [name, [run(trl ? 4 : 1)]]));
  const evaluated = { 'student before': { lm_loss: { mean: 3, stderr: 0.1 } } };
  const settings = { threads: 1, repeats: 1, load_1min: [0, 1] as const, versions: { trl: '1' } };
  const table = comparisonMarkdown({ settings, runs, evaluated });
  expect(table).toContain('| trl-gkd | 4.000 | 0.25 | 400 | 0.25 | 4.0 | 0.25 |');
  expect(table).toContain('| mean | 2.0000 |');
});
