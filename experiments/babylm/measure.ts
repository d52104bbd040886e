/** Measures the GPT-2 teacher on the test split: `node experiments/babylm/measure.ts OUT` writes OUT/gpt2-test. */
import { join } from 'node:path';
import { measureAgain } from '../measureAgain.js';

const [out] = process.argv.slice(2) as [string];
await measureAgain([{ name: 'gpt2', directory: join(out, 'gpt2', 'best') }], {
  place: () => join(out, 'gpt2-test'),
  metrics: 'rouge_l_sampled,rouge_l_greedy,lm_loss,length',
});
