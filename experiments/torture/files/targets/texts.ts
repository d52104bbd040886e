import type { Rng } from '../../../../src/random/streams.js';
import { answerContext } from '../../../../src/text/chat.js';
import { encodeExample } from '../../../../src/text/encode.js';
import { loadTokenizer, type Tokenizer } from '../../../../src/text/tokenizer.js';
import { pick, strings } from '../hostile.js';
import { type Mutant, mutateJson, mutateText } from '../mutate.js';
import { filesOf, type Target } from '../target.js';
import { chatTemplates } from '../tokenizers.js';

const texts = ['', 'The cat is on the mat. 12 birds', '<s>a</s><|endoftext|>\n\né 👩‍👩‍👧'];
const talk = [
  { role: 'system', content: 'Be short.' },
  { role: 'user', content: 'What is it?' },
];

/** Everything that a tokenizer is asked for. */
function useTokenizer(tokenizer: Tokenizer, rng: Rng): void {
  for (const text of [...texts, pick(rng, strings)]) {
    const ids = attempt(() => tokenizer.encode(text));
    if (ids) tokenizer.decode(ids, { skipSpecial: rng() < 0.5 });
  }
  attempt(() => encodeExample(tokenizer, 'What is it?\n', 'A cat'));
  tokenizer.decode([0, 1, 2, tokenizer.vocabSize - 1, tokenizer.vocabSize, 1e6]);
  tokenizer.special?.unshield(tokenizer.special.shield(texts[2]!));
  if (tokenizer.special)
    attempt(() => tokenizer.encode(tokenizer.special!.shield(texts[2]!), { shielded: true }));
}

/** A text that a tokenizer refuses may not hide what comes after it; the refusal itself is judged in the end. */
function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'UsageError') throw error;
    return undefined;
  }
}

function useChat(tokenizer: Tokenizer): void {
  if (!tokenizer.chat) return;
  attempt(() => tokenizer.chat!(talk));
  attempt(() => answerContext(tokenizer.chat!, talk, { args: { enable_thinking: false } }));
  tokenizer.chat([...talk, { role: 'assistant', content: 'A dog' }], { date: '2026-01-31', closed: true });
}

/** Templates of all shapes, damaged; kept in both places where they may stand. */
function mutateTemplate(_: Buffer, rng: Rng): Mutant {
  return mutateText(Buffer.from(pick(rng, chatTemplates)), rng);
}

const load = async (directory: string, rng: Rng): Promise<void> =>
  useTokenizer(await loadTokenizer(directory), rng);
const kinds = ['bytes', 'pieces', 'words'] as const;

export const textTargets: Target[] = [
  ...kinds.map((kind, i) =>
    filesOf({
      name: `tokenizer.json (${kind})`,
      weight: 1,
      from: (world) => world.tokenizers[i]!,
      files: { 'tokenizer.json': mutateJson },
      read: load,
    }),
  ),
  filesOf({
    name: 'tokenizer_config.json and other special tokens',
    weight: 1,
    from: (world) => world.tokenizers[1]!,
    files: {
      'tokenizer_config.json': mutateJson,
      'special_tokens_map.json': mutateJson,
      'generation_config.json': mutateJson,
    },
    async read(directory, rng) {
      const tokenizer = await loadTokenizer(directory);
      useTokenizer(tokenizer, rng);
      useChat(tokenizer);
    },
  }),
  filesOf({
    name: 'chat template',
    weight: 2,
    from: (world) => world.tokenizers[0]!,
    files: { 'chat_template.jinja': mutateTemplate },
    read: async (directory) => useChat(await loadTokenizer(directory)),
  }),
];
