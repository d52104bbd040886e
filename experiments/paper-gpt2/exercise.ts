/**
 * paper-gpt2: every recipe of this folder for a few optimizer steps on models of GPT-2's real shapes.
 *
 *     node --import tsx experiments/paper-gpt2/exercise.ts OUT [--tiny]
 *
 * The student has the shape of GPT-2 (12 layers, width 768, 50,257 tokens), the teacher that of GPT-2 XL with 4 of its 48 layers, both
 * with random weights; rows are as long as the recipes allow, made of WordNet's text. SFT, KD, SeqKD, MiniLLM with its pretraining
 * loss (stopped after two steps and resumed), and an evaluation. Beside every training run stands what `minillm plan` said of it.
 * Writes OUT/exercise.csv and OUT/plan.csv. A second call begins anew. --tiny: two narrow layers, to see the script itself work.
 */
import { fileURLToPath } from 'node:url';
import { saveModel } from '../../src/models/checkpoint.js';
import { gpt2Config } from '../../src/models/families.js';
import { initModel } from '../../src/models/model.js';
import { disposeParams } from '../../src/tensor/params.js';
import { exerciseRecipes, minillmInTwoRounds } from '../exercise.js';

const [out] = process.argv.slice(2);
if (out === undefined || out.startsWith('-')) throw new Error('usage: exercise.ts OUT [--tiny]');
const shapes = process.argv.includes('--tiny')
  ? {
      student: { hiddenSize: 16, layers: 2, heads: 2 },
      teacher: { hiddenSize: 32, layers: 2, heads: 2 },
    }
  : {
      student: { hiddenSize: 768, layers: 12, heads: 12 },
      teacher: { hiddenSize: 1600, layers: 4, heads: 25 },
    };

await exerciseRecipes({
  folder: fileURLToPath(new URL('.', import.meta.url)),
  out,
  exercises: [
    { name: 'sft', recipe: 'sft', set: { 'train.steps': 3 } },
    { name: 'kd', recipe: 'kd', set: { 'train.steps': 3 } },
    { name: 'seqkd', recipe: 'kd', set: { method: 'seqkd', 'train.steps': 2, 'rollout.batch_size': 8 } },
    minillmInTwoRounds,
  ],
  async writeModel(name, directory, tokenizerFrom, { eosId }) {
    const config = gpt2Config({ ...shapes[name], vocabSize: 50257, maxPositions: 1024, eosId });
    const model = initModel(config, name === 'student' ? 1 : 2);
    await saveModel(directory, model, { tokenizerFrom });
    disposeParams(model.params);
  },
});
