import { UsageError } from '../errors.js';
import { chunks, type Sequence } from '../models/packed.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { bytesOf, checkDistribution, idsOf, LIST_BYTES, namedOf, sampledOf } from './answers.js';
import { BadAnswer, BlockingHttp, type Call, withoutSecrets } from './blockingHttp.js';
import { modelList, promptLogprobs, type ServedModel } from './protocol.js';
import type { DistributionKind, Teacher } from './teacher.js';

export interface RemoteTeacherOptions {
  /** Of the server, with or without /v1 at its end. */
  url: string;
  /** As the server lists it; default: its only one. */
  model?: string | undefined;
  /** Name of the environment variable that holds the key. */
  apiKeyEnv?: string | undefined;
  gives: DistributionKind;
  /** Tokens asked for with `top_k`. */
  topK: number;
  /** Sequences in a request. */
  batchSize: number;
  /** Requests under way at a time. */
  concurrency: number;
  retries: number;
  /** Seconds. */
  timeout: number;
  /** Seconds before the first repetition. */
  backoff: number;
  /** Told of every repetition. */
  log?: (line: string) => void;
}

/** Bytes of distributions kept, so that several passes over the rollouts of a round ask once. */
const KEPT = 1 << 28;
const probe = 'The quick brown fox, 1234: "été"?\nabc cab';

/**
 * A teacher behind an OpenAI-compatible server that gives the log-probabilities of prompts (vLLM), or behind `minillm
 * serve`, which gives whole distributions as well. Checks at once that the server has the model and its tokenizer is the
 * student's.
 *
 * @throws UsageError when they differ, or the server does not give what `gives` asks for @throws RunError when it does not answer
 */
export class RemoteTeacher implements Teacher {
  readonly gives: DistributionKind;
  readonly vocabSize: number;
  readonly maxPositions: number;
  /** Name at the server, and the address without anything secret. */
  readonly id: string;
  readonly shown: string;
  private readonly http: BlockingHttp;
  private readonly base: string;
  private readonly headers: Record<string, string>;
  private readonly served: ServedModel;
  private readonly kept = new Map<string, Float32Array>();
  private keptBytes = 0;

  constructor(
    private readonly options: RemoteTeacherOptions,
    private readonly tokenizer: Tokenizer,
  ) {
    this.gives = options.gives;
    this.base = options.url.replace(/\/+$/, '').replace(/\/v1$/, '');
    const shown = withoutSecrets(this.base);
    this.shown = shown;
    this.headers = { 'content-type': 'application/json', ...keyHeader(options.apiKeyEnv) };
    this.http = new BlockingHttp({ log: () => {}, ...options });
    try {
      const models = this.http.all([this.call('/v1/models', undefined, LIST_BYTES, modelList)])[0]!;
      const named = options.model === undefined ? models[0] : models.find(({ id }) => id === options.model);
      if (!named || (options.model === undefined && models.length > 1)) {
        throw new UsageError(
          `teacher.model: ${options.model ?? 'missing'}; ${shown} serves ${models.map(({ id }) => id).join(', ') || 'nothing'}`,
        );
      }
      this.served = named;
      this.id = named.id;
      if (options.gives === 'full' && named.vocabSize === undefined) {
        throw new UsageError(
          `teacher.gives: full distributions come from minillm serve only, and ${shown} is another server; ask for gives: top_k (kd) or gives: sampled (opd)`,
        );
      }
      this.vocabSize = named.vocabSize ?? tokenizer.vocabSize;
      // Other servers write at least one token after a prompt, and that must fit too.
      const written = named.vocabSize === undefined ? 1 : 0;
      this.maxPositions = (named.maxPositions ?? Number.MAX_SAFE_INTEGER) - written;
      this.checkTokenizer(tokenizer, shown);
    } catch (error) {
      this.http.close();
      throw error;
    }
  }

  logprobs(sequences: readonly Sequence[]): Float32Array[] {
    const calls = chunks(sequences, this.options.batchSize).map((part) => {
      const read = (bytes: Uint8Array): Float32Array[] =>
        promptLogprobs(bytes, part.length).map((row, i) =>
          sampledOf(row, part[i]!, (id) => this.inWords(id)),
        );
      return this.call('/v1/completions', this.completion(part.map(idsOf), 0), bytesOf(part, 1), read);
    });
    return this.http.all(calls).flat();
  }

  distributions(sequences: readonly Sequence[]): Float32Array[] {
    if (this.gives === 'sampled')
      throw new UsageError('teacher.gives: sampled tokens only; no distribution can be had');
    const keys = sequences.map((s) => `${s.promptIds.length}:${idsOf(s).join()}`);
    const missing = [...new Map(keys.map((key, i) => [key, sequences[i]!]))].filter(
      ([key]) => !this.kept.has(key),
    );
    const calls = chunks(missing, this.options.batchSize).map((part) =>
      this.gives === 'full' ? this.fullCall(part.map(([, s]) => s)) : this.topCall(part.map(([, s]) => s)),
    );
    const fresh = this.http.all(calls).flat();
    const found = new Map(missing.map(([key], i) => [key, fresh[i]!]));
    const results = keys.map((key) => found.get(key) ?? this.kept.get(key)!);
    this.keep(found);
    return results;
  }

  close(): void {
    this.http.close();
  }

  private inWords(id: number): string {
    return `token ${id} (${JSON.stringify(this.tokenizer.decode([id]))})`;
  }

  private keep(found: ReadonlyMap<string, Float32Array>): void {
    for (const [key, values] of found) {
      if (this.keptBytes + values.byteLength > KEPT) {
        this.kept.clear();
        this.keptBytes = 0;
      }
      this.kept.set(key, values);
      this.keptBytes += values.byteLength;
    }
  }

  private fullCall(part: readonly Sequence[]): Call<Float32Array[]> {
    const body = {
      model: this.served.id,
      prompt: part.map(idsOf),
      from: part.map((s) => s.promptIds.length),
    };
    const rows = part.reduce((sum, s) => sum + s.responseIds.length, 0);
    const expected = 4 * rows * this.vocabSize;
    return this.call('/minillm/v1/logprobs', body, expected + LIST_BYTES, (bytes) => {
      if (bytes.length !== expected)
        throw new BadAnswer(
          `an answer of ${bytes.length} bytes, expected ${expected} (${rows} rows of ${this.vocabSize})`,
        );
      const all = new Float32Array(bytes.slice().buffer); // little-endian, as every machine that this runs on
      let at = 0;
      return part.map((s) => {
        const size = s.responseIds.length * this.vocabSize;
        const values = all.slice(at, at + size);
        at += size;
        checkDistribution(values, this.vocabSize, s, (id) => this.inWords(id));
        return values;
      });
    });
  }

  private topCall(part: readonly Sequence[]): Call<Float32Array[]> {
    const body = this.completion(part.map(idsOf), this.options.topK);
    return this.call('/v1/completions', body, bytesOf(part, this.options.topK + 1), (bytes) =>
      promptLogprobs(bytes, part.length).map((row, i) => namedOf(row, part[i]!, this.vocabSize)),
    );
  }

  private completion(prompt: number[][] | string, top: number) {
    return { model: this.served.id, prompt, max_tokens: 1, temperature: 0, prompt_logprobs: top };
  }

  /** By fingerprint where the server gives one, else by the ids that it finds in a text. */
  private checkTokenizer(tokenizer: Tokenizer, shown: string): void {
    const differ = (how: string) =>
      new UsageError(
        `teacher at ${shown} and student have different tokenizers (${how}); use models that share one`,
      );
    if (this.served.tokenizer !== undefined) {
      if (this.served.tokenizer !== tokenizer.fingerprint) throw differ('their fingerprints differ');
      return;
    }
    const ids = tokenizer.encode(probe);
    const [row] = this.http.all([
      this.call(
        '/v1/completions',
        this.completion(probe, 0),
        LIST_BYTES,
        (bytes) => promptLogprobs(bytes, 1)[0]!,
      ),
    ]);
    // A server's tokenizer may close a text by itself, which ours never does.
    const length = row!.length - (row!.length > ids.length && row!.at(-1)?.has(tokenizer.eosId) ? 1 : 0);
    if (length !== ids.length) throw differ(`a probe has ${row!.length} tokens there and ${ids.length} here`);
    const at = ids.findIndex((id, i) => i > 0 && !row![i]?.has(id));
    if (at >= 0) throw differ(`token ${at} of a probe is not ${ids[at]} there`);
  }

  private call<T>(path: string, body: unknown, maxBytes: number, read: (bytes: Uint8Array) => T): Call<T> {
    const url = this.base + path;
    return { url, headers: this.headers, ...(body !== undefined && { body }), maxBytes, read };
  }
}

function keyHeader(name: string | undefined): Record<string, string> {
  if (name === undefined) return {};
  const key = process.env[name];
  if (!key) throw new UsageError(`teacher.api_key_env: the environment variable ${name} is not set`);
  if (!/^[\x21-\x7e]+$/.test(key)) throw new UsageError(`teacher.api_key_env: ${name} holds no usable key`);
  return { authorization: `Bearer ${key}` };
}
