import type { Example, Examples } from '../data/examples.js';
import { textSequence } from '../models/packed.js';
import type { Sequence } from '../models/sequence.js';
import type { CacheSetting } from '../scoring/cache/cacheIndex.js';
import type { TrainConfig } from '../training/config.js';
import { digest } from './inputDigests.js';

/** What a run has to ask its teacher about. */
export interface AskedRows {
  train: Examples;
  valid: readonly Example[];
  corpus: readonly Int32Array[];
}

/** Rows of one kind, by their place. */
export interface Part {
  name: 'training rows' | 'validation rows' | 'pieces of text';
  /** The field whose file they come from. */
  field: 'data.train' | 'data.valid' | 'data.corpus';
  length: number;
  at(place: number): Sequence;
}

/** The rows of a cache in their order: the gold responses of training and of validation, or the plain text. */
export function partsOf(kind: CacheSetting['kind'], { train, valid, corpus }: AskedRows): Part[] {
  if (kind === 'text') {
    const at = (place: number): Sequence => textSequence(corpus[place]!);
    return [{ name: 'pieces of text', field: 'data.corpus', length: corpus.length, at }];
  }
  return [
    { name: 'training rows', field: 'data.train', length: train.length, at: (i) => train.at(i)! },
    { name: 'validation rows', field: 'data.valid', length: valid.length, at: (i) => valid[i]! },
  ];
}

/** The fields that say how files become token ids, as they are. */
export function fieldsOfRows(
  kind: CacheSetting['kind'],
  { data, pretrain }: TrainConfig,
): Record<string, unknown> {
  if (kind === 'text') return { 'data.bos': data.bos, 'pretrain.length': pretrain.length };
  return {
    'data.template': data.template,
    'data.template_args': data.template_args,
    'data.date': data.date ?? null,
    'data.turns': data.turns,
    'data.bos': data.bos,
    'data.special_tokens': data.special_tokens,
    'data.max_prompt_tokens': data.max_prompt_tokens,
    'data.max_tokens': data.max_tokens,
  };
}

/** SHA-256 of the files that the rows come from, by field. */
export async function digestsOfRows(
  kind: CacheSetting['kind'],
  files: { train: string; valid?: string; corpus?: string },
): Promise<Record<string, string>> {
  const named: [string, string | undefined][] =
    kind === 'text'
      ? [['data.corpus', files.corpus]]
      : [
          ['data.train', files.train],
          ['data.valid', files.valid],
        ];
  const found: Record<string, string> = {};
  for (const [field, file] of named) if (file !== undefined) found[field] = await digest(file);
  return found;
}
