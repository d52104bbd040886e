import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/models/checkpoint.js';
import { parsePair } from '../../src/oracle/network/pair.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { readSweep } from '../../src/runs/sweepConfig.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { methodNames } from '../../src/training/config.js';

const experiments = resolve(import.meta.dirname, '../../experiments');
const student = join(experiments, 'wordnet', 'student');
const files = readdirSync(experiments, { recursive: true, encoding: 'utf8' }).filter(
  (name) => name.endsWith('.yaml') && !/(experiment|config)\.yaml$/.test(name),
);
const recipes = files.filter((name) => !name.endsWith('sweep.yaml') && !name.startsWith('oracle'));

describe('recipes under experiments/', () => {
  it('are found', () => expect(recipes.length).toBeGreaterThanOrEqual(7));

  it.each(recipes)('%s is a valid configuration', async (name) => {
    // The recipes of the quickstart start from a student that the quickstart makes.
    const made = name.startsWith('quickstart') && !name.endsWith('sft.yaml');
    // The rows of the variance recipe are made by its measure.sh; that they are found is not what is tested here.
    const rows = name.startsWith('variance')
      ? ['train', 'valid'].map((part) => `data.${part}=${import.meta.filename}`)
      : [];
    const config = await readTrainConfig(join(experiments, name), [
      ...(made ? [`student=${student}`] : []),
      ...rows,
    ]);
    expect(config.data.template).toBe('plain');
  });

  it('every method has one, and the sweep has all methods', async () => {
    for (const method of methodNames) {
      expect((await readTrainConfig(join(experiments, 'methods', `${method}.yaml`), [])).method).toBe(method);
    }
    const { runs } = await readSweep(join(experiments, 'methods', 'sweep.yaml'));
    expect(new Set(runs.map((run) => run.config.method))).toEqual(new Set(methodNames));
  });

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
