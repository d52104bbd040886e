import { join } from 'node:path';
import { corpusChunks } from '../../../../src/data/corpus.js';
import { type ExampleLimits, loadExamples } from '../../../../src/data/examples.js';
import { readPrompts } from '../../../../src/data/prompts.js';
import { readRollouts, readTexts } from '../../../../src/data/rollouts.js';
import type { Rng } from '../../../../src/random/streams.js';
import { loadTokenizer, type Tokenizer } from '../../../../src/text/tokenizer.js';
import { mutateJson, mutateJsonl, mutateText } from '../mutate.js';
import { filesOf, type Target } from '../target.js';
import type { World } from '../world.js';

const known = new Map<string, Promise<Tokenizer>>();
/** A whole tokenizer, loaded once. */
function tokenizerOf(world: World): Promise<Tokenizer> {
  const directory = world.tokenizers[0]!;
  if (!known.has(directory)) known.set(directory, loadTokenizer(directory));
  return known.get(directory)!;
}

const limits = (template: NonNullable<ExampleLimits['template']>): ExampleLimits => ({
  ...{ template, maxPromptTokens: 4000, maxTokens: 6000, outputs: 'optional' },
});

const examples =
  (file: string, template: NonNullable<ExampleLimits['template']>) =>
  async (directory: string, rng: Rng, world: World): Promise<unknown> =>
    loadExamples(join(directory, file), await tokenizerOf(world), {
      ...limits(template),
      specialTokens: rng() < 0.5 ? 'text' : 'tokens',
    });

type Read = (directory: string, rng: Rng, world: World) => unknown;
const data = (name: string, weight: number, file: string, mutate: typeof mutateText, read: Read): Target =>
  filesOf({ name, weight, from: (world) => world.data, files: { [file]: mutate }, read });

export const dataTargets: Target[] = [
  data('instruction rows (JSONL)', 7, 'shapes.jsonl', mutateJsonl, examples('shapes.jsonl', 'alpaca')),
  data('instruction rows (JSON)', 3, 'shapes.json', mutateJson, examples('shapes.json', 'plain')),
  data('turns (JSONL)', 1, 'turns.jsonl', mutateJsonl, examples('turns.jsonl', 'none')),
  data('conversations (JSONL)', 3, 'chat.jsonl', mutateJsonl, examples('chat.jsonl', 'chat')),
  data('prompts', 3, 'prompts.jsonl', mutateJsonl, (d) => readPrompts(join(d, 'prompts.jsonl'))),
  data('token texts', 1, 'texts.jsonl', mutateJsonl, (d) => readTexts(join(d, 'texts.jsonl'))),
  data('rollouts', 2, 'rollouts.jsonl', mutateJsonl, (d) => readRollouts(join(d, 'rollouts.jsonl'))),
  data('plain text', 2, 'corpus.txt', mutateText, async (d, _, world) =>
    corpusChunks(join(d, 'corpus.txt'), await tokenizerOf(world), 16),
  ),
  data('plain text in rows', 2, 'corpus.jsonl', mutateJsonl, async (d, _, world) =>
    corpusChunks(join(d, 'corpus.jsonl'), await tokenizerOf(world), 16),
  ),
];
