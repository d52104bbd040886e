import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/models/checkpoint.js';
import { parameterCount } from '../../src/models/model.js';
import { parsePair } from '../../src/oracle/network/pair.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { readSweep } from '../../src/runs/sweepConfig.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { methodNames } from '../../src/training/config.js';

const experiments = resolve(import.meta.dirname, '../../experiments');
const student = join(experiments, 'wordnet', 'student');
const files = readdirSync(experiments, { recursive: true, encoding: 'utf8' }).filter(
  (name) => name.endsWith('.yaml') && !/(experiment|config|mpijob)\.yaml$/.test(name),
);
const isPaper = (name: string): boolean => name.startsWith('paper-');
// Its data and models are made by its script (comingFromTrl.test.ts).
const isMade = (name: string): boolean => name.startsWith('oracle') || name.startsWith('coming-from-trl');
const recipes = files.filter((name) => !name.endsWith('sweep.yaml') && !isMade(name) && !isPaper(name));
const papers = files.filter(isPaper);

/** Rows that a recipe's own commands make; that they are found is not what is tested here. */
const rowsOf = (name: string): string[] =>
  /^(variance|rewards)/.test(name)
    ? ['train', 'valid'].map((part) => `data.${part}=${import.meta.filename}`)
    : [];

describe('recipes under experiments/', () => {
  it('are found', () => expect(recipes.length).toBeGreaterThanOrEqual(7));

  it.each(recipes)('%s is a valid configuration', async (name) => {
    // The recipes of the quickstart start from a student that the quickstart makes.
    const made = name.startsWith('quickstart') && !name.endsWith('sft.yaml');
    const config = await readTrainConfig(join(experiments, name), [
      ...(made ? [`student=${student}`] : []),
      ...rowsOf(name),
    ]);
    expect(config.data.template).toBe('plain');
  });

  it.each(papers)('%s is valid, whatever models and data there are', async (name) => {
    const config = await readTrainConfig(join(experiments, name), [], ['models', 'data']);
    expect(config.data).toMatchObject({ template: 'alpaca', max_prompt_tokens: 256, max_tokens: 512 });
    expect(config.train.batch_size % config.train.micro_batch_size!).toBe(0);
    // What users bring lies in runs/ of the repository, never in a place of somebody's own machine.
    const text = readFileSync(join(experiments, name), 'utf8');
    for (const [, path] of text.matchAll(/^\s*(?:student|teacher|train|valid|corpus): (\S+)$/gm))
      expect(path).toMatch(/^(\.\.\/\.\.\/runs\/|[a-z-]+\/[a-z0-9-]+$)/);
  });

  it('the paper has three stages for each of three families, with the published round', async () => {
    expect(papers).toHaveLength(9);
    for (const name of papers.filter((file) => file.endsWith('minillm.yaml'))) {
      const { train, rollout, objective } = await readTrainConfig(
        join(experiments, name),
        [],
        ['models', 'data'],
      );
      // The adapters of LLaMA's have ten times the rate of all weights.
      const lr = name.includes('llama') ? 5e-5 : 5e-6;
      expect([train.steps, train.batch_size, train.lr, train.warmup, train.weight_decay]).toEqual([
        5000,
        64,
        lr,
        100,
        1e-6,
      ]);
      expect([rollout.rollouts, rollout.inner_epochs, rollout.max_new_tokens]).toEqual([256, 4, 256]);
      expect(objective.preset).toBe('lmops');
    }
  });

  it.each([
    ['gpt2/shapes/gpt2', 124_439_808],
    ['gpt2/shapes/gpt2-medium', 354_823_168],
    ['gpt2/shapes/gpt2-large', 774_030_080],
    ['gpt2/shapes/gpt2-xl', 1_557_611_200],
    ['opt/shapes/opt-1.3b', 1_315_758_080],
    ['opt/shapes/opt-2.7b', 2_651_596_800],
    ['opt/shapes/opt-6.7b', 6_658_473_984],
    ['opt/shapes/opt-13b', 12_853_473_280],
    ['llama/shapes/llama-7b', 6_738_415_616],
    ['llama/shapes/llama-13b', 13_015_864_320],
  ])('paper-%s has the parameters of its model', async (shape, parameters) => {
    expect(parameterCount(await loadConfig(join(experiments, `paper-${shape}`)))).toBe(parameters);
  });

  it('every method has one, and the sweep has all methods', async () => {
    for (const method of methodNames) {
      expect((await readTrainConfig(join(experiments, 'methods', `${method}.yaml`), [])).method).toBe(method);
    }
    const { runs } = await readSweep(join(experiments, 'methods', 'sweep.yaml'));
    expect(new Set(runs.map((run) => run.config.method))).toEqual(new Set(methodNames));
  });

  it.each(files.filter((name) => name.endsWith('sweep.yaml') && !name.startsWith('variance')))(
    '%s: every run of the sweep is a valid configuration',
    async (name) => {
      expect((await readSweep(join(experiments, name), rowsOf(name))).runs.length).toBeGreaterThan(1);
    },
  );

  it("the oracle's problems are what its command takes", async () => {
    const text = (name: string): string => readFileSync(join(experiments, 'oracle', name), 'utf8');
    for (const name of ['far.json', 'close.json'])
      expect(parseWorld(JSON.parse(text(name)), name).sequences).toBe(31);
    const pair = parsePair(parse(text('pair.yaml')), join(experiments, 'oracle', 'pair.yaml'));
    expect(pair.prompts).toEqual([[1, 2], [3]]);
  });

  it('ships a teacher and a student of one tokenizer', async () => {
    const [teacher, pupil] = [join(experiments, 'wordnet', 'teacher'), student];
    expect((await loadTokenizer(pupil)).fingerprint).toBe((await loadTokenizer(teacher)).fingerprint);
    expect((await loadConfig(teacher)).hiddenSize).toBeGreaterThan((await loadConfig(pupil)).hiddenSize);
  });
});
