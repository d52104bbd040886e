import { z } from 'zod';
import { UsageError } from '../errors.js';

/** One state s = (x, y_<t) of a tabular world: what both models predict there. */
export interface State {
  /** The tokens so far, none of them EOS. */
  prefix: number[];
  /** ln q(v | s) and ln p(v | s), float64. */
  logq: Float64Array;
  logp: Float64Array;
  /** KL(q‖p) at this state, nats. */
  kl: number;
  /** Index of the state after token v; −1 where the sequence ends (EOS or horizon). */
  next: Int32Array;
}

/** A complete tree of states, shorter prefixes first; the root is state 0. */
export interface World {
  vocab: number;
  horizon: number;
  eos: number;
  /** Teacher share of the sampling mixture. */
  alpha: number;
  /** Number of different sequences. */
  sequences: number;
  states: State[];
}

/** More sequences than this would take minutes. */
export const maxSequences = 50_000;

const size = z.number().int().min(1);
const table = z.array(
  z.strictObject({
    prefix: z.array(z.number().int().min(0)),
    // Beyond this size differences of logits lose the precision that the oracle promises.
    logits: z.array(z.number().min(-1e6).max(1e6)),
  }),
);
const worldSchema = z.strictObject({
  vocab: size.min(2),
  horizon: size,
  eos: z.number().int().min(0),
  alpha: z.number().min(0).max(1).default(0.2),
  student: table,
  teacher: table,
});

/**
 * A tabular world as CLI.md writes it: `{vocab, horizon, eos, alpha, student: [{prefix, logits}], teacher: [...]}`, one
 * entry for every prefix without EOS shorter than the horizon, in any order. A sequence ends at EOS or at the horizon.
 *
 * @param json anything @param where what it came from, for the message
 * @throws UsageError naming the first thing that is wrong
 */
export function parseWorld(json: unknown, where: string): World {
  const parsed = worldSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const path = issue.path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
    throw new UsageError(`${where}: ${path.replace(/^\./, '') || 'the world'}: ${issue.message}`);
  }
  const { vocab, horizon, eos, alpha, student, teacher } = parsed.data;
  if (eos >= vocab)
    throw new UsageError(`${where}: eos: ${eos} found, expected a token below vocab ${vocab}`);
  const sequences = countSequences(vocab, horizon);
  if (sequences > maxSequences) {
    throw new UsageError(
      `${where}: vocab ${vocab} and horizon ${horizon} make more than ${maxSequences} sequences; enumerate a smaller world`,
    );
  }
  const prefixes = allPrefixes(vocab, horizon, eos);
  const q = logitsByPrefix(student, prefixes, vocab, `${where}: student`);
  const p = logitsByPrefix(teacher, prefixes, vocab, `${where}: teacher`);
  const index = new Map(prefixes.map((prefix, i) => [prefix.join(), i]));
  const states = prefixes.map((prefix, i) => {
    const logq = logSoftmax(q[i]!);
    const logp = logSoftmax(p[i]!);
    const kl = logq.reduce((sum, l, v) => sum + Math.exp(l) * (l - logp[v]!), 0);
    const next = Int32Array.from({ length: vocab }, (_, v) =>
      v === eos ? -1 : (index.get([...prefix, v].join()) ?? -1),
    );
    return { prefix, logq, logp, kl, next };
  });
  return { vocab, horizon, eos, alpha, sequences, states };
}

/** Σ_{d<H} (V−1)^d sequences that end with EOS, and (V−1)^H cut at the horizon; stops counting past the limit. */
function countSequences(vocab: number, horizon: number): number {
  let alive = 1;
  let count = 0;
  for (let t = 0; t < horizon && count <= maxSequences; t++) {
    count += alive;
    alive *= vocab - 1;
  }
  return count + alive;
}

function allPrefixes(vocab: number, horizon: number, eos: number): number[][] {
  const prefixes: number[][] = [[]];
  for (let i = 0; i < prefixes.length; i++) {
    const prefix = prefixes[i]!;
    if (prefix.length + 1 >= horizon) continue;
    for (let v = 0; v < vocab; v++) if (v !== eos) prefixes.push([...prefix, v]);
  }
  return prefixes;
}

function logitsByPrefix(
  entries: z.output<typeof table>,
  prefixes: number[][],
  vocab: number,
  where: string,
): number[][] {
  const wanted = new Set(prefixes.map((prefix) => prefix.join()));
  const found = new Map<string, number[]>();
  entries.forEach(({ prefix, logits }, i) => {
    const key = prefix.join();
    const name = `${where}[${i}]`;
    if (!wanted.has(key)) {
      throw new UsageError(
        `${name}: prefix [${brief(prefix)}] is no prefix without EOS shorter than the horizon`,
      );
    }
    if (found.has(key)) throw new UsageError(`${name}: prefix [${brief(prefix)}] is given twice`);
    if (logits.length !== vocab) {
      throw new UsageError(`${name}: ${logits.length} logits found, expected vocab ${vocab}`);
    }
    found.set(key, logits);
  });
  return prefixes.map((prefix) => {
    const logits = found.get(prefix.join());
    if (!logits)
      throw new UsageError(`${where}: no entry for prefix [${prefix}]; every prefix without EOS needs one`);
    return logits;
  });
}

/** A prefix for a message: a hostile file may hold a million tokens. */
function brief(prefix: number[]): string {
  return prefix.length <= 12
    ? prefix.join(',')
    : `${prefix.slice(0, 12).join(',')},… ${prefix.length} tokens`;
}

function logSoftmax(logits: number[]): Float64Array {
  const top = Math.max(...logits);
  const lse = top + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - top), 0));
  return Float64Array.from(logits, (z) => z - lse);
}
