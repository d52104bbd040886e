/** What is kept of the distributions at T response positions. */
export interface TopTokens {
  /** [T·K], the most likely first; of equally likely ones the smaller id. */
  ids: Int32Array;
  /** ln p of these, [T·K], nats. */
  logprobs: Float32Array;
  /** ln p of the token that stands there, [T]. */
  gold: Float32Array;
  /** Probability of all tokens that are neither among the K nor the gold one, [T], added up in float64. */
  tail: Float32Array;
}

/**
 * The K largest log-probabilities of every row, that of the gold token, and the mass of all others.
 *
 * @param logprobs ln p, [T·V] row-major @param gold token ids, [T] @param k at most V
 */
export function topTokens(logprobs: Float32Array, gold: ArrayLike<number>, k: number): TopTokens {
  const rows = gold.length;
  const vocab = logprobs.length / rows;
  const kept: TopTokens = {
    ids: new Int32Array(rows * k),
    logprobs: new Float32Array(rows * k),
    gold: new Float32Array(rows),
    tail: new Float32Array(rows),
  };
  const named = new Uint8Array(vocab);
  for (let t = 0; t < rows; t++) {
    const row = logprobs.subarray(t * vocab, (t + 1) * vocab);
    const ids = kept.ids.subarray(t * k, (t + 1) * k);
    selectTop(row, ids);
    ids.forEach((id, n) => {
      kept.logprobs[t * k + n] = row[id]!;
      named[id] = 1;
    });
    named[gold[t]!] = 1;
    let tail = 0;
    for (let v = 0; v < vocab; v++) if (named[v] === 0) tail += Math.exp(row[v]!);
    kept.gold[t] = row[gold[t]!]!;
    kept.tail[t] = tail;
    named.fill(0);
  }
  return kept;
}

/** Fills `ids` with the places of the largest values, by insertion: few of V values are among the K so far. */
function selectTop(row: Float32Array, ids: Int32Array): void {
  let filled = 0;
  for (let v = 0; v < row.length; v++) {
    const value = row[v]!;
    if (filled === ids.length && !(value > row[ids[filled - 1]!]!)) continue;
    let at = filled < ids.length ? filled++ : filled - 1;
    for (; at > 0 && row[ids[at - 1]!]! < value; at--) ids[at] = ids[at - 1]!;
    ids[at] = v;
  }
}
