import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadExamples } from '../../src/data/examples.js';
import { evaluate } from '../../src/evaluation/evaluate.js';
import { loadModel } from '../../src/models/checkpoint.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { runTraining } from '../../src/runs/train.js';
import { initBackend } from '../../src/tensor/backend.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { validationSamples } from '../../src/training/validationSamples.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { trainConfig } from '../helpers/training.js';

const backend = await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('validation-samples');
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

describe('samples of a validation prompt', () => {
  it.each([
    [1, 5],
    [40, 5],
    [41, 4],
    [66, 3],
    [100, 2],
    [101, 1],
    [200, 1],
    [1000, 1],
  ])('%i prompts are answered %i times', (prompts, samples) => {
    expect(validationSamples(trainConfig({ method: 'minillm' }), prompts)).toBe(samples);
    expect(validationSamples(trainConfig({ method: 'minillm', eval: { samples: 7 } }), prompts)).toBe(7);
  });

  it.each([
    [{}, [3, 4, 5, 6, 7]],
    [{ samples: 2 }, [3, 4]],
    [{ samples: 1 }, [3]],
  ])('a validation with eval %j is that of the seeds %j', async (evaluation, seeds) => {
    const config = worldConfig(world, 'minillm', {
      ...{ seed: 3, train: { steps: 0, warmup: 0 } },
      eval: { every: 0, prompts: 4, metrics: ['sample_diversity'], samples: undefined, ...evaluation },
    });
    const name = `seeds-${seeds.length}`;
    const read = await readTrainConfig(writeConfig(join(place.path, `${name}.yaml`), config), []);
    const out = join(place.path, name);
    await runTraining(read, out, { backend, log: () => {}, quiet: true });
    const row = JSON.parse(readFileSync(join(out, 'metrics.jsonl'), 'utf8').split('\n')[0]!);
    const tokenizer = await loadTokenizer(world.student);
    const { examples } = await loadExamples(world.valid, tokenizer, {
      ...{ template: read.data.template, maxPromptTokens: 20, maxTokens: 24 },
    });
    const [student, teacher] = [await loadModel(world.student), await loadModel(world.teacher)];
    const metrics = ['reverse_kl_seq', 'reverse_kl_token', 'length'] as const;
    const { metrics: found } = evaluate(student, teacher, tokenizer, examples, {
      ...{ metrics, seeds, maxNewTokens: read.rollout.max_new_tokens, batchSize: 64 },
      eosIds: student.config.eosIds,
    });
    for (const metric of metrics) expect(row[`valid_${metric}`]).toBeCloseTo(found[metric]!.mean, 6);
    // What compares the samples of one prompt is there with two of them.
    expect('valid_sample_diversity' in row).toBe(seeds.length > 1);
    const samples = readFileSync(join(out, 'samples', 'step-0.jsonl'), 'utf8')
      .trimEnd()
      .split('\n');
    expect(samples).toHaveLength(4);
  });
});
