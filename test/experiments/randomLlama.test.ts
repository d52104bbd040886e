import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { writeRandomLlama } from '../../experiments/bench/randomLlama.js';
import { loadModel } from '../../src/models/checkpoint.js';
import { parameterCount } from '../../src/models/model.js';
import { scoreTokens } from '../../src/scoring/score.js';
import { initBackend } from '../../src/tensor/backend.js';
import { halfOf } from '../../src/tensor/halves.js';
import { disposeParams } from '../../src/tensor/params.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'cpu' });
const place = temporaryDirectory('random-llama');
afterAll(place.remove);

it('writes a LLaMA in shards that loads as bfloat16, and scores', async () => {
  const directory = join(place.path, 'model');
  const bytes = await writeRandomLlama(directory, {
    layers: 2,
    width: 16,
    heads: 2,
    inner: 24,
    vocabulary: 30,
  });
  expect(readdirSync(directory).filter((name) => name.endsWith('.safetensors'))).toHaveLength(3);
  expect(existsSync(join(directory, 'model.safetensors'))).toBe(false);
  const model = await loadModel(directory, { dtype: 'bfloat16' });
  expect(bytes).toBe(2 * parameterCount(model.config));
  expect(halfOf(model.params['lm_head.weight']!)).toEqual({ dtype: 'bfloat16', shape: [16, 30] });
  const [scores] = scoreTokens(model, [Int32Array.of(1, 7, 3, 9)]);
  for (const score of scores!) expect(Math.abs(score + Math.log(30))).toBeLessThan(0.5);
  disposeParams(model.params);
});
