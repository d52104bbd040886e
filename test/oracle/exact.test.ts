import { describe, expect, it } from 'vitest';
import { enumerate, population } from '../../src/oracle/enumeration.js';
import { lengthNormalisedKlExact, reverseKlExact } from '../../src/oracle/exact.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { naiveSequences, randomWorldJson, type WorldJson } from './worlds.js';

const sum = (x: number[]) => x.reduce((a, b) => a + b, 0);

/** Σ_y q(y) Σ_t ln(q/p), optionally over T: the definition. */
function naiveKl(json: WorldJson, perToken: boolean): number {
  return sum(
    naiveSequences(json).map(({ tokens, logq, logp }) => {
      const kl = sum(logq) - sum(logp);
      return Math.exp(sum(logq)) * (perToken ? kl / tokens.length : kl);
    }),
  );
}

describe.each([
  ['vocabulary 3, horizon 4', randomWorldJson(3, 4, 1)],
  ['vocabulary 4, horizon 3, EOS last', shuffled(4, 3)],
  ['vocabulary 2, horizon 5', randomWorldJson(2, 5, 3, 0.5)],
])('exact objective and gradient, %s', (_, json) => {
  const world = parseWorld(json, 'world');
  const enumeration = enumerate(world);
  const position = new Map(world.states.map(({ prefix }, s) => [prefix.join('-'), s]));

  it('enumerates every sequence once, probabilities add to 1 for the student and the mixture', () => {
    const naive = naiveSequences(json)
      .map(({ tokens }) => tokens.join('-'))
      .sort();
    expect(enumeration.sequences.map(({ tokens }) => [...tokens].join('-')).sort()).toEqual(naive);
    expect(world.sequences).toBe(naive.length);
    for (const alpha of [0, 0.2, 1]) {
      expect(sum([...population(enumeration, alpha).probabilities])).toBeCloseTo(1, 13);
    }
  });

  it.each([
    ['sequence-level KL', false],
    ['E[Σ/T]', true],
  ] as const)('%s: value by definition, gradient by central differences', (_name, perToken) => {
    const exact = perToken ? lengthNormalisedKlExact(enumeration) : reverseKlExact(world);
    expect(exact.value).toBeCloseTo(naiveKl(json, perToken), 13);
    const h = 1e-5;
    json.student.forEach(({ prefix, logits }, entry) => {
      logits.forEach((z, v) => {
        const at = (value: number) => {
          const student = json.student.with(entry, { prefix, logits: logits.with(v, value) });
          return naiveKl({ ...json, student }, perToken);
        };
        const slope = (at(z + h) - at(z - h)) / (2 * h);
        const found = exact.gradient[position.get(prefix.join('-'))! * json.vocab + v];
        expect(found, `[${prefix}] ${v}`).toBeCloseTo(slope, 8);
      });
    });
  });
});

it('by hand: one step, q = 1/2 1/2, p = 3/4 1/4', () => {
  const world = parseWorld(
    {
      vocab: 2,
      horizon: 1,
      eos: 0,
      student: [{ prefix: [], logits: [0, 0] }],
      teacher: [{ prefix: [], logits: [Math.log(3), 0] }],
    },
    'world',
  );
  // KL = (ln(2/3) + ln 2)/2 = 0.143841; gradient q(ln q/p − KL) = (−0.405465 − 0.143841)/2 = −0.274653
  const { value, gradient } = reverseKlExact(world);
  expect(value).toBeCloseTo(0.143841, 6);
  expect(gradient[0]).toBeCloseTo(-0.274653, 6);
  expect(gradient[1]).toBeCloseTo(0.274653, 6);
});

/** Another EOS and entries in another order. */
function shuffled(vocab: number, horizon: number): WorldJson {
  const json = randomWorldJson(vocab, horizon, 2);
  const rename = (entries: WorldJson['student']) =>
    entries.map(({ prefix, logits }) => ({ prefix: prefix.map((v) => v - 1), logits })).reverse();
  return { ...json, eos: vocab - 1, student: rename(json.student), teacher: rename(json.teacher) };
}
