import type { World } from '../../src/oracle/world.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { normal, stream } from '../../src/random/streams.js';

export interface WorldJson {
  vocab: number;
  horizon: number;
  eos: number;
  alpha: number;
  student: { prefix: number[]; logits: number[] }[];
  teacher: { prefix: number[]; logits: number[] }[];
  reward?: { prefix: number[]; values: number[] }[];
  kl_coef?: number;
}

/** The world with a task: a standard normal reward for every token, which at the last one is that of the whole response. */
export function withTask(json: WorldJson, kl_coef: number): WorldJson {
  const rng = stream(json.student.length, 'oracle-task');
  const reward = json.student.map(({ prefix }) => ({
    prefix,
    values: Array.from({ length: json.vocab }, () => normal(rng)),
  }));
  return { ...json, reward, kl_coef };
}

/** A world with standard normal student logits; the teacher's are independent, or the student's plus `gap` times noise. */
export function randomWorldJson(vocab: number, horizon: number, seed: number, gap?: number): WorldJson {
  const prefixes: number[][] = [[]];
  for (let i = 0; i < prefixes.length; i++) {
    if (prefixes[i]!.length + 1 < horizon)
      for (let v = 1; v < vocab; v++) prefixes.push([...prefixes[i]!, v]);
  }
  const rng = stream(seed, 'oracle-world');
  const student = prefixes.map((prefix) => ({
    prefix,
    logits: Array.from({ length: vocab }, () => normal(rng)),
  }));
  const teacher = student.map(({ prefix, logits }) => ({
    prefix,
    logits: logits.map((z) => (gap === undefined ? normal(rng) : z + gap * normal(rng))),
  }));
  return { vocab, horizon, eos: 0, alpha: 0.2, student, teacher };
}

export function randomWorld(vocab: number, horizon: number, seed: number, gap?: number): World {
  return parseWorld(randomWorldJson(vocab, horizon, seed, gap), 'test world');
}

/** A naive sequence of a world with its log-probabilities, from the JSON alone: shares nothing with src/oracle. */
export interface NaiveSequence {
  tokens: number[];
  /** Keys of the states visited. */
  keys: string[];
  logq: number[];
  logp: number[];
}

export function naiveLogSoftmax(z: number[]): number[] {
  const lse = Math.log(z.reduce((sum, x) => sum + Math.exp(x), 0));
  return z.map((x) => x - lse);
}

export function naiveSequences(json: WorldJson): NaiveSequence[] {
  const table = (entries: WorldJson['student']) =>
    new Map(entries.map(({ prefix, logits }) => [prefix.join('-'), naiveLogSoftmax(logits)]));
  const [q, p] = [table(json.student), table(json.teacher)];
  let open: NaiveSequence[] = [{ tokens: [], keys: [], logq: [], logp: [] }];
  const done: NaiveSequence[] = [];
  while (open.length > 0) {
    const longer: NaiveSequence[] = [];
    for (const s of open) {
      const key = s.tokens.join('-');
      for (let v = 0; v < json.vocab; v++) {
        const next = {
          tokens: [...s.tokens, v],
          keys: [...s.keys, key],
          logq: [...s.logq, q.get(key)![v]!],
          logp: [...s.logp, p.get(key)![v]!],
        };
        (v === json.eos || next.tokens.length === json.horizon ? done : longer).push(next);
      }
    }
    open = longer;
  }
  return done;
}
