import { UsageError } from '../errors.js';

/**
 * Byte-level byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909, on bytes as in GPT-2): the trainer.
 * Encoding is left to `@huggingface/tokenizers`, which reads the tokenizer.json written here.
 */
export interface Bpe {
  /** Token by id: special tokens, the 256 byte characters in code-point order, then one per merge. */
  vocab: string[];
  /** Pairs of tokens in the order in which they are merged. */
  merges: [string, string][];
}

/**
 * GPT-2's split into pre-tokens, which no merge crosses: contractions, words, numbers, signs, runs of space. Space is what
 * Unicode calls so: JavaScript's \s counts the byte order mark and leaves out the next line (U+0085).
 */
export const preToken =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/**
 * GPT-2's printable character for each byte: the byte's own Latin-1 character where that prints, else the next
 * unused one from U+0100 (so that a space becomes Ġ, a newline Ċ).
 */
export function byteAlphabet(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(prints ? byte : next++);
  });
}

/** Counts pre-tokens over texts. Separate from training so that a caller can feed texts one by one. */
export class PreTokenCounts {
  readonly counts = new Map<string, number>();

  add(text: string): void {
    for (const [token] of text.matchAll(preToken)) this.counts.set(token, (this.counts.get(token) ?? 0) + 1);
  }
}

/** A pair of ids as one number; exact up to 2^26 tokens, and ordered like the pair (left, then right). */
const pairKey = (left: number, right: number) => left * 2 ** 26 + right;

/**
 * Learns the merges: again and again the most frequent pair of neighbouring tokens becomes one token; of pairs
 * equally frequent the one with the smallest (left id, right id), as in Hugging Face's trainer, whose merges these
 * are. Pair counts are kept up to date word by word, so a merge costs only the words that contain it.
 *
 * @param specialTokens get the first ids, are never merged and never learned
 * @returns at most `vocabSize` tokens; fewer when every word has become one token
 * @throws UsageError when vocabSize leaves no room for the bytes, or the texts are empty
 */
export function trainBpe(
  words: ReadonlyMap<string, number>,
  vocabSize: number,
  specialTokens: string[],
): Bpe {
  const alphabet = byteAlphabet();
  const vocab = [...specialTokens, ...[...alphabet].sort()];
  if (!Number.isInteger(vocabSize) || vocabSize < vocab.length || vocabSize > 2 ** 20)
    throw new UsageError(
      `vocabulary size must be a whole number from ${vocab.length} (bytes and special tokens) to 1048576, got ${vocabSize}`,
    );
  if (words.size === 0)
    throw new UsageError('there is no text to train a tokenizer on; give --input files that are not empty');
  const idOf = new Map(vocab.map((token, id) => [token, id]));

  const symbols: number[][] = [];
  const frequency: number[] = [];
  for (const [word, count] of words) {
    symbols.push(Array.from(Buffer.from(word, 'utf8'), (byte) => idOf.get(alphabet[byte]!)!));
    frequency.push(count);
  }
  const pairCounts = new Map<number, number>();
  const wordsWith = new Map<number, Set<number>>();
  const addPairs = (word: number, sign: 1 | -1, changed?: Set<number>) => {
    const ids = symbols[word]!;
    for (let i = 0; i + 1 < ids.length; i++) {
      const key = pairKey(ids[i]!, ids[i + 1]!);
      pairCounts.set(key, (pairCounts.get(key) ?? 0) + sign * frequency[word]!);
      if (sign < 0) continue;
      const holders = wordsWith.get(key);
      if (holders === undefined) wordsWith.set(key, new Set([word]));
      else holders.add(word);
      changed?.add(key);
    }
  };
  for (let word = 0; word < symbols.length; word++) addPairs(word, 1);
  const queue = new PairQueue();
  for (const [key, count] of pairCounts) queue.push({ key, count });

  const merges: [string, string][] = [];
  while (vocab.length < vocabSize) {
    const top = queue.pop();
    if (top === undefined) break;
    // Counts in the queue may be out of date; a pair that has become rarer goes back with its true count.
    const count = pairCounts.get(top.key) ?? 0;
    if (count < top.count) {
      if (count > 0) queue.push({ key: top.key, count });
      continue;
    }
    const left = Math.floor(top.key / 2 ** 26);
    const right = top.key % 2 ** 26;
    const token = vocab[left]! + vocab[right]!;
    merges.push([vocab[left]!, vocab[right]!]);
    let merged = idOf.get(token);
    if (merged === undefined) {
      merged = vocab.push(token) - 1;
      idOf.set(token, merged);
    }
    const changed = new Set<number>();
    for (const word of wordsWith.get(top.key)!) {
      addPairs(word, -1);
      symbols[word] = mergePair(symbols[word]!, left, right, merged);
      addPairs(word, 1, changed);
    }
    wordsWith.delete(top.key);
    pairCounts.delete(top.key);
    for (const key of changed) queue.push({ key, count: pairCounts.get(key)! });
  }
  return { vocab, merges };
}

/** Replaces each occurrence of left, right by merged, from the left. */
function mergePair(ids: number[], left: number, right: number, merged: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === left && ids[i + 1] === right) {
      out.push(merged);
      i++;
    } else out.push(ids[i]!);
  }
  return out;
}

interface Counted {
  key: number;
  count: number;
}

/** A binary heap: the largest count first, then the smallest key. */
class PairQueue {
  private readonly heap: Counted[] = [];

  push(item: Counted): void {
    let i = this.heap.push(item) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(item, this.heap[parent]!)) break;
      this.heap[i] = this.heap[parent]!;
      i = parent;
    }
    this.heap[i] = item;
  }

  pop(): Counted | undefined {
    const top = this.heap[0];
    const last = this.heap.pop();
    if (top === undefined || last === undefined || this.heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.heap.length) break;
      if (child + 1 < this.heap.length && before(this.heap[child + 1]!, this.heap[child]!)) child++;
      if (!before(this.heap[child]!, last)) break;
      this.heap[i] = this.heap[child]!;
      i = child;
    }
    this.heap[i] = last;
    return top;
  }
}

function before(a: Counted, b: Counted): boolean {
  return a.count > b.count || (a.count === b.count && a.key < b.key);
}
