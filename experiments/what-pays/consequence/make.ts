/**
 * Writes the language of one length: `node experiments/what-pays/consequence/make.ts DIR --length 16`. DIR/teacher, DIR/start (the student
 * with random weights), both with the tokenizer; DIR/train.jsonl, valid.jsonl, test.jsonl with the teacher's own sentences, and
 * DIR/corpus.txt, the training sentences as plain text.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { saveModel } from '../../../src/models/checkpoint.js';
import { disposeModel, type Model } from '../../../src/models/model.js';
import { stream } from '../../../src/random/streams.js';
import { initBackend } from '../../../src/tensor/backend.js';
import {
  ANSWER,
  distribution,
  END,
  keyWord,
  type Language,
  languageOf,
  PADDING,
  sentences,
  tables,
} from './language.js';
import { studentOf, teacherOf } from './teacher.js';

export interface LanguageOptions {
  length: number;
  keys?: number;
  doubt?: number;
  width?: number;
  inner?: number;
  rows?: { train: number; valid: number; test: number };
}

/** All files of a language into a directory. */
export async function makeLanguage(out: string, options: LanguageOptions): Promise<Language> {
  const { width = 32, inner = 2 * width, rows = { train: 4000, valid: 400, test: 2000 } } = options;
  const language = languageOf(options.length, options);
  mkdirSync(out, { recursive: true });
  await writeModel(join(out, 'teacher'), teacherOf(language), language);
  await writeModel(join(out, 'start'), studentOf(language, { width, inner }, 1), language);
  for (const [name, count] of Object.entries(rows)) {
    const written = rowsOf(language, name, count);
    writeFileSync(join(out, `${name}.jsonl`), written.map((row) => `${JSON.stringify(row)}\n`).join(''));
    if (name !== 'train') continue;
    const texts = written.map(({ instruction, output }) => `${instruction}\n${ANSWER}\n${output[0]}\n`);
    writeFileSync(join(out, 'corpus.txt'), texts.join('\n'));
  }
  return language;
}

/** Rows in turn of every key: a sentence drawn from the teacher, and behind it the two that are right. */
function rowsOf(language: Language, name: string, count: number) {
  const spoken = tables(language);
  return Array.from({ length: count }, (_, i) => {
    const key = 1 + (i % language.keys);
    const right = sentences(language, key).map((words) => words.join(' '));
    return { instruction: keyWord(key), output: [drawn(language, spoken, name, i, key).join(' '), ...right] };
  });
}

function drawn(
  { words, length }: Language,
  spoken: ReturnType<typeof tables>,
  name: string,
  row: number,
  key: number,
): string[] {
  const rng = stream(1, 'consequence', name, row);
  const sentence: string[] = [];
  // One word in 10,000 is none that may stand there, and leads back perhaps: no sentence is longer than the context.
  for (let word = words.indexOf(ANSWER); sentence.length < length + 8; ) {
    const p = distribution(spoken, word, key);
    const u = rng();
    let mass = 0;
    word = p.findIndex((share) => {
      mass += share;
      return u < mass;
    });
    if (words[word] === END || word < 0) break;
    sentence.push(words[word]!);
  }
  return sentence;
}

async function writeModel(directory: string, model: Model, { words }: Language): Promise<void> {
  await saveModel(directory, model);
  disposeModel(model);
  const special = [END, PADDING].map((content) => ({
    ...{ id: words.indexOf(content), content, special: true },
    ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
  }));
  const tokenizer = {
    ...{ version: '1.0', truncation: null, padding: null, added_tokens: special, normalizer: null },
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: null,
    decoder: null,
    model: {
      ...{ type: 'BPE', unk_token: null, ignore_merges: true, merges: [] },
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
    },
  };
  const settings = {
    ...{ tokenizer_class: 'PreTrainedTokenizerFast', eos_token: END, pad_token: PADDING },
    ...{ clean_up_tokenization_spaces: false },
  };
  writeFileSync(join(directory, 'tokenizer.json'), `${JSON.stringify(tokenizer, null, 1)}\n`);
  writeFileSync(join(directory, 'tokenizer_config.json'), `${JSON.stringify(settings, null, 2)}\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      length: { type: 'string', default: '16' },
      keys: { type: 'string' },
      doubt: { type: 'string' },
      width: { type: 'string' },
      inner: { type: 'string' },
    },
  });
  await initBackend({ backend: 'cpu' });
  const { words } = await makeLanguage(positionals[0]!, {
    length: Number(values.length),
    ...(values.keys && { keys: Number(values.keys) }),
    ...(values.doubt && { doubt: Number(values.doubt) }),
    ...(values.width && { width: Number(values.width) }),
    ...(values.inner && { inner: Number(values.inner) }),
  });
  process.stdout.write(`${positionals[0]}: ${words.length} words\n`);
}
