import { UsageError } from '../errors.js';
import type { ModelConfig } from '../models/config.js';
import type { Model } from '../models/model.js';
import { CachedTeacher } from '../scoring/cache/cachedTeacher.js';
import type { CacheIndex, CacheSetting } from '../scoring/cache/cacheIndex.js';
import { sequenceKey } from '../scoring/cache/key.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { TrainConfig } from '../training/config.js';
import { type AskedRows, digestsOfRows, fieldsOfRows, type Part, partsOf } from './cachedRows.js';
import { temperatureOf } from './teacherCacheChecks.js';

export interface CacheUser extends AskedRows {
  kind: CacheSetting['kind'];
  config: TrainConfig;
  tokenizer: Tokenizer;
  student: ModelConfig;
  /** Ids that student and teachers share, as far as they are loaded. */
  vocabulary: number;
  /** Of the data section (`dataFiles`). */
  files: { train: string; valid?: string; corpus?: string };
  log: (line: string) => void;
}

/**
 * A cache as a teacher that can be asked about the rows of this run and about nothing else. All of it is read once: that the files
 * are those that were written, that their values are distributions, and that the rows are the run's.
 *
 * @throws UsageError in one line naming the cache and what of it does not fit
 */
export async function openTeacherCache(directory: string, user: CacheUser): Promise<Model> {
  const cached = await CachedTeacher.open(directory);
  try {
    checkSetting(cached, user);
    const tail = await checkRows(cached, user);
    user.log(describe(cached, user, tail));
  } catch (error) {
    cached.close();
    throw error;
  }
  return {
    config: { ...user.student, vocabSize: cached.index.vocab, hf: {} },
    params: {},
    remote: cached,
  };
}

function checkSetting(
  { directory, index }: CachedTeacher,
  { kind, config, tokenizer, vocabulary }: CacheUser,
): void {
  const what = { gold: 'gold responses', text: 'pieces of plain text' };
  if (index.kind !== kind)
    throw new UsageError(`${directory}: holds ${what[index.kind]}, expected ${what[kind]}`);
  if (index.tokenizer !== tokenizer.fingerprint)
    throw new UsageError(
      `${directory}: was made with another tokenizer than the student's; make a cache of a teacher that shares it`,
    );
  const fits = kind === 'gold' ? index.vocab <= vocabulary : index.vocab === vocabulary;
  if (!fits || index.vocab < tokenizer.vocabSize)
    throw new UsageError(
      `${directory}: is over ${index.vocab} ids, and the models of this run have ${vocabulary} (the tokenizer ${tokenizer.vocabSize}); make a cache with this configuration`,
    );
  const { value, field } =
    kind === 'gold' ? temperatureOf(config) : { value: 1, field: 'the temperature of the pretraining loss' };
  if (index.temperature !== value)
    throw new UsageError(
      `${directory}: was made at temperature ${index.temperature}, and ${field} is ${value}; of some tokens the others at another temperature are not known: make a cache with this configuration`,
    );
}

/** @returns the mean mass of the tail */
async function checkRows(cached: CachedTeacher, user: CacheUser): Promise<number> {
  const { directory, index } = cached;
  let first = 0;
  let [tail, tokens] = [0, 0];
  for (const [i, part] of partsOf(user.kind, user).entries()) {
    const rows = index.parts[i]?.rows ?? 0;
    // Validation may use fewer than were cached.
    const fits = part.name === 'validation rows' ? part.length <= rows : part.length === rows;
    for (let row = 0; row < Math.min(part.length, rows); row++) {
      const sequence = part.at(row);
      if (!sequenceKey(sequence).equals(cached.keyAt(first + row))) {
        throw await misfit(directory, index, user, part, `row ${row + 1} of ${part.field} is another`);
      }
      for (const mass of cached.read(first + row, sequence).tail) tail += mass;
      tokens += sequence.responseIds.length;
    }
    if (!fits)
      throw await misfit(directory, index, user, part, `${rows} ${part.name} there, ${part.length} here`);
    first += rows;
  }
  return tokens === 0 ? 0 : tail / tokens;
}

/** Names what differs between the rows of a cache and those of a run. */
async function misfit(
  directory: string,
  index: CacheIndex,
  { kind, config, files }: CacheUser,
  part: Part,
  otherwise: string,
): Promise<UsageError> {
  const mend = 'make a cache with this configuration, or use that one';
  for (const [field, here] of Object.entries(fieldsOfRows(kind, config))) {
    const [was, is] = [index.rows_from[field], here].map((x) => JSON.stringify(x));
    if (was !== is)
      return new UsageError(`${directory}: was made with ${field} ${was}, and here it is ${is}; ${mend}`);
  }
  const digests = await digestsOfRows(kind, files);
  if (digests[part.field] !== index.data[part.field])
    return new UsageError(
      `${directory}: was made of other data (${part.field} is another file: ${otherwise}); ${mend}`,
    );
  const more = part.name === 'validation rows' ? '; see eval.prompts' : '';
  return new UsageError(`${directory}: was made of other rows (${otherwise}${more}); ${mend}`);
}

function describe({ directory, index, rows }: CachedTeacher, { kind }: CacheUser, tail: number): string {
  const percent = `${Number((100 * tail).toPrecision(2))} %`;
  const what = kind === 'gold' ? 'rows' : 'pieces of text';
  const from = `teacher from the cache ${directory}, ${rows} ${what}`;
  if (index.top_k === index.vocab) return `${from}: whole distributions`;
  return `${from}: its ${index.top_k} likeliest tokens and the gold one; all others (${percent} of its probability on average) are one bucket, so that the KL is a lower bound of that over all tokens, and the student keeps its own shape there`;
}
