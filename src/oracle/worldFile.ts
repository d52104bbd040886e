import { z } from 'zod';
import { UsageError } from '../errors.js';
import { allPrefixes, countSequences, growWorld, maxSequences, type World } from './world.js';

const size = z.number().int().min(1);
const table = z.array(
  z.strictObject({
    prefix: z.array(z.number().int().min(0)),
    // Beyond this size differences of logits lose the precision that the oracle promises.
    logits: z.array(z.number().min(-1e6).max(1e6)),
  }),
);
const rewards = z.array(
  z.strictObject({
    prefix: z.array(z.number().int().min(0)),
    values: z.array(z.number().min(-1e6).max(1e6)),
  }),
);
const worldSchema = z.strictObject({
  vocab: size.min(2),
  horizon: size,
  eos: z.number().int().min(0),
  alpha: z.number().min(0).max(1).default(0.2),
  student: table,
  teacher: table,
  reward: rewards.optional(),
  kl_coef: z.number().min(0).max(1e6).optional(),
});

/**
 * A tabular world: `{vocab, horizon, eos, alpha, student: [{prefix, logits}], teacher: [...]}`, one entry for every prefix
 * without EOS shorter than the horizon, in any order. A sequence ends at EOS or at the horizon. With a task,
 * `reward: [{prefix, values}]` has the reward of every token after such a prefix, 0 where a prefix is left out, and `kl_coef`
 * weighs the reverse KL (1).
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
  const { student, teacher, reward, kl_coef, ...rest } = parsed.data;
  const shape = { ...rest, ...(kl_coef !== undefined && { klCoef: kl_coef }) };
  checkSize(shape, where);
  const prefixes = allPrefixes(shape);
  return growWorld(shape, [
    {
      student: logitsByPrefix(student, prefixes, shape.vocab, `${where}: student`),
      teacher: logitsByPrefix(teacher, prefixes, shape.vocab, `${where}: teacher`),
      ...(reward && { reward: rewardsByPrefix(reward, prefixes, shape.vocab, `${where}: reward`) }),
    },
  ]);
}

/** @throws UsageError for an end token outside the vocabulary or too many sequences */
export function checkSize(shape: { vocab: number; horizon: number; eos: number }, where: string): void {
  const { vocab, horizon, eos } = shape;
  if (eos >= vocab)
    throw new UsageError(`${where}: eos: ${eos} found, expected a token below vocab ${vocab}`);
  if (countSequences(shape) > maxSequences) {
    throw new UsageError(
      `${where}: vocab ${vocab} and horizon ${horizon} make more than ${maxSequences} sequences; enumerate a smaller world`,
    );
  }
}

function logitsByPrefix(
  entries: z.output<typeof table>,
  prefixes: number[][],
  vocab: number,
  where: string,
): number[][] {
  const found = byPrefix(
    entries.map(({ prefix, logits }) => ({ prefix, numbers: logits })),
    { prefixes, vocab, what: 'logits', where },
  );
  return prefixes.map((prefix) => {
    const logits = found.get(prefix.join());
    if (!logits)
      throw new UsageError(`${where}: no entry for prefix [${prefix}]; every prefix without EOS needs one`);
    return logits;
  });
}

function rewardsByPrefix(
  entries: z.output<typeof rewards>,
  prefixes: number[][],
  vocab: number,
  where: string,
): number[][] {
  const found = byPrefix(
    entries.map(({ prefix, values }) => ({ prefix, numbers: values })),
    { prefixes, vocab, what: 'values', where },
  );
  return prefixes.map((prefix) => found.get(prefix.join()) ?? new Array<number>(vocab).fill(0));
}

/** @throws UsageError for a prefix that is none or stands twice, and for a list that is not one number a token */
function byPrefix(
  entries: readonly { prefix: number[]; numbers: number[] }[],
  { prefixes, vocab, what, where }: { prefixes: number[][]; vocab: number; what: string; where: string },
): Map<string, number[]> {
  const wanted = new Set(prefixes.map((prefix) => prefix.join()));
  const found = new Map<string, number[]>();
  entries.forEach(({ prefix, numbers }, i) => {
    const key = prefix.join();
    const name = `${where}[${i}]`;
    if (!wanted.has(key)) {
      throw new UsageError(
        `${name}: prefix [${brief(prefix)}] is no prefix without EOS shorter than the horizon`,
      );
    }
    if (found.has(key)) throw new UsageError(`${name}: prefix [${brief(prefix)}] is given twice`);
    if (numbers.length !== vocab) {
      throw new UsageError(`${name}: ${numbers.length} ${what} found, expected vocab ${vocab}`);
    }
    found.set(key, numbers);
  });
  return found;
}

/** A prefix for a message: a hostile file may hold a million tokens. */
function brief(prefix: number[]): string {
  return prefix.length <= 12
    ? prefix.join(',')
    : `${prefix.slice(0, 12).join(',')},… ${prefix.length} tokens`;
}
