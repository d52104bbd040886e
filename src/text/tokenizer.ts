import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';
import { UsageError } from '../errors.js';
import { preToken } from './bpe.js';
import { type Chat, chatOf } from './chat.js';
import { checkPatterns } from './patterns.js';
import { meantSpecials, renamedSpecials, type SpecialText, specialText } from './specialText.js';
import { lead, leadingTokens } from './surroundings.js';
import { readVocabulary } from './vocabulary.js';

/** Text to token ids and back. */
export interface Tokenizer {
  /**
   * Largest id + 1, added tokens included; a model's vocabulary may be larger (padded), never smaller. A padding token that the
   * model of the directory has no row for (Llama 2 with `<pad>` added as 32000) does not count: it is never fed to it.
   */
  vocabSize: number;
  eosId: number;
  bosId?: number;
  padId: number;
  /** Ids of a text, with the special tokens that belong in front of it (LLaMA: BOS; GPT-2: none), once; none behind it. */
  encode(text: string, options?: EncodeOptions): number[];
  /** Text of ids; ids without a token (a model padded beyond its tokenizer) give nothing. */
  decode(ids: ArrayLike<number>, options?: { skipSpecial?: boolean }): string;
  /** Finds special tokens in text that somebody wrote, and shields them; absent: there are none. */
  special?: SpecialText;
  /** Renders a conversation by the tokenizer's chat template; absent where it has none. */
  chat?: Chat;
  /** SHA-256 of the mapping from id to token, but for a padding token behind all others: equal for two tokenizers whose ids mean the same. */
  fingerprint: string;
}

export interface EncodeOptions {
  /** False for a text that carries its special tokens itself, as a chat template writes them. Default true. */
  addSpecial?: boolean;
  /** True for a text whose own special tokens are shielded (`special.shield`): they become text. Default false. */
  shielded?: boolean;
}

type Json = Record<string, unknown>;

/** Names that mean end of text in vocabularies that come without a tokenizer_config.json. */
const endNames = ['<|endoftext|>', '</s>', '<|end_of_text|>', '<|im_end|>', '<eos>'];

/**
 * Loads the tokenizer of a Hugging Face directory: tokenizer.json, and for the special ids the first that knows of
 * tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json. Padding defaults to EOS, as in MiniLLM.
 *
 * Where the tokenizer_config.json says nothing, decoding leaves the spaces before punctuation as they are (the
 * library alone would remove them).
 *
 * @throws UsageError when a file is missing or damaged, or nothing tells which token ends a text
 */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const file = path.join(dir, 'tokenizer.json');
  const json = await readJson(file);
  if (json === undefined)
    throw new UsageError(`${dir}: no tokenizer.json; give a Hugging Face model or tokenizer directory`);
  return createTokenizer(json, file, await readSettings(dir));
}

/** As loadTokenizer, but undefined where there is no tokenizer.json: rows of ids need none. */
export async function tokenizerIfPresent(dir: string): Promise<Tokenizer | undefined> {
  return (await readJson(path.join(dir, 'tokenizer.json'))) === undefined ? undefined : loadTokenizer(dir);
}

/** The files beside tokenizer.json that name special tokens, missing ones as {}. */
interface Settings {
  tokenizerConfig: Json;
  specialTokens: Json;
  /** generation_config.json, config.json: special tokens by id. */
  idFiles: Json[];
  /** Content of chat_template.jinja, where there is one. */
  chatTemplate?: string | undefined;
}

async function readSettings(dir: string): Promise<Settings> {
  const [tokenizerConfig, specialTokens, generation, config] = await Promise.all(
    ['tokenizer_config.json', 'special_tokens_map.json', 'generation_config.json', 'config.json'].map(
      async (name) => (await readJson(path.join(dir, name))) ?? {},
    ),
  );
  return {
    tokenizerConfig: tokenizerConfig!,
    specialTokens: specialTokens!,
    idFiles: [generation!, config!],
    chatTemplate: await readText(path.join(dir, 'chat_template.jinja')),
  };
}

/** Whether config.json says that the model has no row for an id. */
function beyond(id: number, idFiles: readonly Json[]): boolean {
  const sizes = idFiles.map(({ vocab_size }) => vocab_size).filter((size) => typeof size === 'number');
  return sizes.some((size) => id >= size);
}

/** The tokenizer that a parsed tokenizer.json describes; `where` names it in messages. */
export function createTokenizer(json: Json, where: string, settings: Settings): Tokenizer {
  const tokenById = readVocabulary(json, where);
  const idByToken = new Map(tokenById.map(([id, token]) => [token, id]));
  const known = new Set(tokenById.map(([id]) => id));
  const { tokenizerConfig, specialTokens, idFiles } = settings;
  const hubConfig = { clean_up_tokenization_spaces: false, ...tokenizerConfig };
  // The library checks little of what it reads, and fails over it at its first use or later.
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(`${where}: not a tokenizer that can be read (${firstLine(error)})`);
    }
  };
  const hub = guarded(() => {
    checkPatterns(json, where); // guarded too: nesting may be deeper than the stack
    return new HubTokenizer(json, hubConfig);
  });

  const special = (name: 'eos' | 'bos' | 'pad'): number | undefined => {
    for (const source of [tokenizerConfig, specialTokens]) {
      const token = source[`${name}_token`];
      const content =
        typeof token === 'string' ? token : (token as { content?: unknown } | null | undefined)?.content;
      if (typeof content === 'string' && idByToken.has(content)) return idByToken.get(content);
    }
    for (const source of idFiles) {
      // generation_config.json may list several; the first is the tokenizer's own.
      const id = [source[`${name}_token_id`]].flat()[0];
      if (typeof id === 'number' && known.has(id)) return id;
    }
    return undefined;
  };
  const endName = endNames.find((name) => idByToken.has(name));
  const eosId = special('eos') ?? (endName === undefined ? undefined : idByToken.get(endName));
  if (eosId === undefined)
    throw new UsageError(
      `${where}: cannot tell which token ends a text; put "eos_token" into tokenizer_config.json beside it`,
    );
  const bosId = special('bos');
  const pad = special('pad');
  const padBeyond = pad !== undefined && pad !== eosId && beyond(pad, idFiles) ? pad : undefined;
  // One directory of two may have it, added as the last.
  const meant = pad !== eosId && tokenById.at(-1)![0] === pad ? tokenById.slice(0, -1) : tokenById;
  const counted = tokenById.filter(([id]) => id !== padBeyond);
  const leading = guarded(() => leadingTokens(hub, tokenizerConfig, bosId));
  const specials = specialTokensOf(json);
  let renamed: HubTokenizer | undefined;
  const encode = (text: string, { addSpecial = true, shielded = false }: EncodeOptions = {}): number[] => {
    const ids: (number | undefined)[] = guarded(() => {
      if (!shielded) return hub.encode(text, { add_special_tokens: false }).ids;
      renamed ??= new HubTokenizer(renamedSpecials(json), hubConfig);
      return renamed.encode(meantSpecials(text, specials), { add_special_tokens: false }).ids;
    });
    if (ids.some((id) => id === undefined))
      throw new UsageError(
        `${where}: has no token for a part of ${JSON.stringify(text.slice(0, 40))} and no unknown token`,
      );
    if (padBeyond !== undefined && ids.includes(padBeyond))
      throw new UsageError(
        `${where}: ${JSON.stringify(text.slice(0, 40))} holds the padding token, id ${padBeyond}, which the model has no row for; take it out of the text`,
      );
    return addSpecial ? lead(leading, ids as number[]) : (ids as number[]);
  };

  const chat = chatOf(tokenizerConfig, settings.chatTemplate, where);
  return {
    vocabSize: counted.at(-1)![0] + 1,
    eosId,
    ...(bosId !== undefined && { bosId }),
    padId: padBeyond === undefined ? (pad ?? eosId) : eosId,
    ...(chat && { chat }),
    ...(specials.length > 0 && { special: specialText(specials) }),
    encode: splitsLikeGpt2(json) ? byPreToken(encode, addedTokens(json)) : encode,
    decode(ids, { skipSpecial = false } = {}) {
      const list = Array.from(ids).filter((id) => known.has(id));
      return list.length === 0 ? '' : guarded(() => hub.decode(list, { skip_special_tokens: skipSpecial }));
    },
    fingerprint: createHash('sha256').update(JSON.stringify(meant)).digest('hex'),
  };
}

/** True for a tokenizer that encodes each of GPT-2's pre-tokens by itself and adds nothing (GPT-2, and those trained here). */
function splitsLikeGpt2(json: Json): boolean {
  const { normalizer, pre_tokenizer, post_processor } = json as Record<string, Json | null | undefined>;
  return (
    normalizer == null &&
    pre_tokenizer?.type === 'ByteLevel' &&
    pre_tokenizer.add_prefix_space === false &&
    pre_tokenizer.use_regex !== false &&
    (post_processor == null || post_processor.type === 'ByteLevel')
  );
}

/**
 * The same encoding, each different pre-token encoded once: the library spends most of its time on the same few
 * thousand words. A text that contains an added token is left to the library, which splits there first.
 */
function byPreToken(encode: Tokenizer['encode'], added: string[]): Tokenizer['encode'] {
  const known = new Map<string, number[]>();
  return (text, options) => {
    if (options?.shielded) return encode(text, options);
    if (added.some((token) => text.includes(token))) return encode(text);
    const ids: number[] = [];
    for (const piece of text.match(preToken) ?? []) {
      let pieceIds = known.get(piece);
      if (pieceIds === undefined) {
        pieceIds = encode(piece);
        if (known.size >= 200_000) known.clear();
        known.set(piece, pieceIds);
      }
      for (const id of pieceIds) ids.push(id);
    }
    return ids;
  };
}

/** Contents of the tokens that are marked special. */
function specialTokensOf(json: Json): string[] {
  return ((json.added_tokens ?? []) as { content: string; special?: boolean }[])
    .filter(({ content, special }) => special && content !== '')
    .map(({ content }) => content);
}

function addedTokens(json: Json): string[] {
  return ((json.added_tokens ?? []) as { content: string }[]).map(({ content }) => content);
}

/** The text of a file, undefined when the file does not exist. */
async function readText(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).replace(/^\uFEFF/, '');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new UsageError(`${file} cannot be read: ${firstLine(error)}`);
  }
}

/** A JSON object from a file, undefined when the file does not exist. */
async function readJson(file: string): Promise<Json | undefined> {
  const text = await readText(file);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (text.startsWith('version https://git-lfs.github.com/'))
      throw new UsageError(
        `${file}: a Git LFS pointer, not the file itself; "git lfs pull" in that clone fetches it`,
      );
    throw new UsageError(`${file}: not JSON (${firstLine(error)})`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`${file}: expected a JSON object`);
  return value as Json;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
}
