/**
 * paper-llama: every recipe of this folder for a few optimizer steps on models of LLaMA's real widths.
 *
 *     node --import tsx experiments/paper-llama/exercise.ts OUT [--tiny]
 *
 * The student has the width of LLaMA 7B with 2 of its 32 layers, the teacher that of 13B with 2 of its 40, both with random weights in
 * bfloat16; rows are as long as the recipes allow, made of WordNet's text. Adapters on all linear maps: SFT, KD, and MiniLLM with its
 * pretraining loss in two rounds (stopped after two steps and resumed), and an evaluation. Beside every training run stands what
 * `minillm plan` said of it. Writes OUT/exercise.csv and OUT/plan.csv. A second call begins anew. --tiny: narrow layers, to see the
 * script itself work.
 */
import { fileURLToPath } from 'node:url';
import { copyTokenizer } from '../../src/models/modelFiles.js';
import { writeRandomLlama } from '../bench/randomLlama.js';
import { exerciseRecipes, minillmInTwoRounds } from '../exercise.js';

const [out] = process.argv.slice(2);
if (out === undefined || out.startsWith('-')) throw new Error('usage: exercise.ts OUT [--tiny]');
const shapes = process.argv.includes('--tiny')
  ? {
      student: { layers: 2, width: 16, heads: 2, inner: 32, vocabulary: 4200 },
      teacher: { layers: 2, width: 32, heads: 2, inner: 64, vocabulary: 4200 },
    }
  : {
      student: { layers: 2, width: 4096, heads: 32, inner: 11008, vocabulary: 32000 },
      teacher: { layers: 2, width: 5120, heads: 40, inner: 13824, vocabulary: 32000 },
    };

await exerciseRecipes({
  folder: fileURLToPath(new URL('.', import.meta.url)),
  out,
  exercises: [
    { name: 'sft', recipe: 'sft', set: { 'train.steps': 2 } },
    { name: 'kd', recipe: 'kd', set: { 'train.steps': 2 } },
    minillmInTwoRounds,
  ],
  evaluate: ['--dtype', 'bfloat16', '--teacher-dtype', 'bfloat16', '--no-bos'],
  async writeModel(name, directory, tokens, { eosId }) {
    await writeRandomLlama(directory, { ...shapes[name], eosId }, (line) =>
      console.error(`${name}: ${line}`),
    );
    await copyTokenizer(tokens, directory);
  },
});
