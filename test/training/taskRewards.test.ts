import { describe, expect, it } from 'vitest';
import { Shards } from '../../src/cluster/shards.js';
import { Stopped } from '../../src/pieces.js';
import type { Trajectory } from '../../src/rollout/trajectory.js';
import { type RewardBatch, RewardEnded, type RewardSource } from '../../src/training/rewardSource.js';
import { RewardFailed, scoreRewards } from '../../src/training/taskRewards.js';

/** Three responses of 2, 3 and 1 tokens; token i is the letter i of the alphabet, 0 the end. */
const letters = 'abcdefgh';
const tokenizer = {
  decode: (ids: ArrayLike<number>, { skipSpecial = false } = {}) =>
    Array.from(ids, (id) => (id === 0 ? (skipSpecial ? '' : '</s>') : letters[id - 1])).join(''),
};
const responses = [[1, 0], [2, 3, 4], [0]];
const trajectories = responses.map(
  (ids, promptIndex) =>
    ({
      promptIndex,
      promptIds: Int32Array.of(5),
      responseIds: Int32Array.from(ids),
      finished: promptIndex !== 1,
    }) as Trajectory,
);
const train = responses.map((_, i) => ({
  prompt: `prompt ${i}`,
  row: { gold: i },
  where: `rows.jsonl:${i + 1}`,
}));

const source = (ask: (batch: RewardBatch) => unknown, more: Partial<RewardSource> = {}): RewardSource => ({
  ...{ name: 'r', weight: 0.5, module: 'r.mjs', timeout: 5, batchSize: 64 },
  ...more,
  ask: async (batch) => ask(batch),
});
const score = (sources: RewardSource[], more: object = {}) =>
  scoreRewards({ train, rewards: { sources, tokenizer }, ...more } as never, trajectories);
const failure = (ask: (batch: RewardBatch) => unknown, more: Partial<RewardSource> = {}) =>
  score([source(ask, more)]).then(
    () => undefined,
    (error: Error) => error,
  );

describe('scoreRewards', () => {
  it('asks with texts, rows and tokens, and gives every response what was said of it', async () => {
    const seen: RewardBatch[] = [];
    const scored = await score([
      source((batch) => {
        seen.push(batch);
        return batch.responses.map((text) => text.length);
      }),
      source(({ tokens }) => tokens.map((list) => list.map((_, t) => t)), { name: 'place', weight: 2 }),
    ]);
    expect(seen).toEqual([
      {
        prompts: ['prompt 0', 'prompt 1', 'prompt 2'],
        responses: ['a', 'bcd', ''],
        rows: [{ gold: 0 }, { gold: 1 }, { gold: 2 }],
        tokens: [['a', '</s>'], ['b', 'c', 'd'], ['</s>']],
        ended: [true, false, true],
      },
    ]);
    expect(scored.map(({ rewards }) => rewards)).toEqual([
      [
        { name: 'r', weight: 0.5, value: 1 },
        { name: 'place', weight: 2, value: Float64Array.of(0, 1) },
      ],
      [
        { name: 'r', weight: 0.5, value: 3 },
        { name: 'place', weight: 2, value: Float64Array.of(0, 1, 2) },
      ],
      [
        { name: 'r', weight: 0.5, value: 0 },
        { name: 'place', weight: 2, value: Float64Array.of(0) },
      ],
    ]);
    expect(scored[1]!.responseIds).toBe(trajectories[1]!.responseIds);
  });

  it('in batches, cut anew in every shard', async () => {
    const sizes: number[] = [];
    const counting = source(
      ({ responses: asked }) => {
        sizes.push(asked.length);
        return asked.map((text) => text.length);
      },
      { batchSize: 2 },
    );
    const lengths = async (more: object) =>
      (await score([counting], more)).map(({ rewards }) => rewards![0]!.value);
    expect(await lengths({})).toEqual([1, 3, 0]);
    expect(await lengths({ shards: new Shards(2) })).toEqual([1, 3, 0]);
    expect(sizes).toEqual([2, 1, 1, 2]);
  });

  it('without rewards there is nothing to ask', async () => {
    expect(await scoreRewards({ train } as never, trajectories)).toEqual(trajectories);
  });

  it.each<[string, (batch: RewardBatch) => unknown, string]>([
    [
      'no list',
      () => 3,
      'reward r (r.mjs) gave 3, expected a list of 3 rewards, for 3 rows, rows.jsonl:1 to rows.jsonl:3',
    ],
    [
      'another length',
      () => [1],
      'gave 1 rewards, expected 3, one a response, for 3 rows, rows.jsonl:1 to rows.jsonl:3',
    ],
    ['not finite', () => [1, Number.NaN, 1], 'gave NaN, expected a finite number, for rows.jsonl:2'],
    [
      'not a number',
      () => [1, 1, 'good'],
      'gave "good", expected a number or a list of numbers, for rows.jsonl:3',
    ],
    [
      'nothing',
      () => [undefined, 1, 1],
      'gave nothing, expected a number or a list of numbers, for rows.jsonl:1',
    ],
    [
      'another number of tokens',
      () => [1, [1, 2], 1],
      'gave 2 numbers, expected 3, one a token of the response, for rows.jsonl:2',
    ],
    [
      'a bad token',
      () => [[1, Number.POSITIVE_INFINITY], 1, 1],
      'gave Infinity at token 1, expected a finite number, for rows.jsonl:1',
    ],
    [
      'a throw',
      ({ rows }) =>
        rows.map(({ gold }) => {
          if (gold === 1) throw new Error('two\nlines');
          return 0;
        }),
      'threw "two\\nlines" on rows.jsonl:2',
    ],
    [
      'a throw at all together',
      ({ rows }) => {
        if (rows.length > 1) throw 'no';
        return [0];
      },
      'threw "no" on 3 rows, rows.jsonl:1 to rows.jsonl:3',
    ],
  ])('%s: names reward, module and row', async (_, ask, said) => {
    const error = await failure(ask);
    expect(error).toBeInstanceOf(RewardFailed);
    expect(error!.message).toContain(said);
    expect(error!.message).toMatch(/^reward r \(r\.mjs\) /);
  });

  it('what has ended is not asked again', async () => {
    let asked = 0;
    const error = await failure(() => {
      asked++;
      throw new RewardEnded('its thread has ended');
    });
    expect(error!.message).toContain('threw "its thread has ended" on 3 rows, rows.jsonl:1 to rows.jsonl:3');
    expect(asked).toBe(1);
  });

  it('a hang: is ended, and told after how long', async () => {
    let closed = 0;
    const error = await failure(() => new Promise(() => {}), { timeout: 0.05, close: () => closed++ });
    expect(error).toBeInstanceOf(RewardFailed);
    expect(error!.message).toContain(
      'gave no answer within 0.05 s for 3 rows, rows.jsonl:1 to rows.jsonl:3; a larger timeout',
    );
    expect(closed).toBe(1);
  });

  it('a stop that is asked while an answer is waited for is heard', async () => {
    const pause = async (): Promise<void> => {
      throw new Stopped();
    };
    await expect(score([source(() => new Promise(() => {}))], { pause })).rejects.toThrow(Stopped);
  });
});
