import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunError, UsageError } from '../../src/errors.js';
import { writeReport } from '../../src/report/report.js';
import { readMetrics } from '../../src/runs/metricsLog.js';
import type { GivenReward } from '../../src/runs/rewards.js';
import { RewardThread } from '../../src/runs/rewardThread.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { runTraining } from '../../src/runs/train.js';
import { initBackend } from '../../src/tensor/backend.js';
import type { RewardBatch } from '../../src/training/rewardSource.js';
import { fingerprintOfRun } from '../helpers/cli.js';
import { codeBlocks, repository } from '../helpers/docs.js';
import { type FileWorld, jsonl, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const backend = await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('rewards');
const at = (name: string) => join(place.path, name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  writeFileSync(at('endless.mjs'), 'for (;;);');
  const rows = readFileSync(world.train, 'utf8').trim().split('\n');
  writeFileSync(world.train, jsonl(rows.map((row, i) => ({ ...JSON.parse(row), answer: { number: i } }))));
  // Writes down what it is asked; does what the file `how` says to the row whose answer it names.
  writeFileSync(
    at('length.mjs'),
    `import { appendFileSync, existsSync, readFileSync } from 'node:fs';
const [how, asked] = [${JSON.stringify(at('how'))}, ${JSON.stringify(at('asked'))}];
export default (batch) => {
  const [trouble, row] = existsSync(how) ? readFileSync(how, 'utf8').split(' ') : [];
  const found = batch.rows.some(({ answer }) => answer.number === Number(row));
  if (found && trouble === 'hang') for (;;);
  if (found && trouble === 'throw') throw new Error('no such answer');
  console.log('asked about', batch.responses.length);
  appendFileSync(asked, JSON.stringify(batch) + '\\n');
  const bad = (i) => trouble === 'nan' && batch.rows[i].answer.number === Number(row);
  return batch.responses.map((text, i) => (bad(i) ? NaN : text.length));
};
export const wordy = async ({ tokens }) => tokens.map((list) => list.map((text) => (text.includes('a') ? 1 : -0.5)));
export const none = 7;
`,
  );
});
afterAll(place.remove);

const rewards = [
  { module: './length.mjs', weight: 0.5 },
  { module: './length.mjs', export: 'wordy', weight: 2, batch_size: 3 },
];

function configOf(name: string, change: Record<string, unknown> = {}, method = 'minillm'): string {
  const fields = { eval: { every: 0 }, rewards, ...change };
  return writeConfig(at(`${name}.yaml`), worldConfig(world, method, fields));
}

async function train(
  config: string,
  out: string,
  options: { resume?: boolean; stopAfter?: number; rewards?: GivenReward[] } = {},
): Promise<Error | undefined> {
  const { stopAfter, ...rest } = options;
  let steps = 0;
  const given = { ...rest, backend, log: () => {}, quiet: true };
  return runTraining(await readTrainConfig(config, []), out, {
    ...given,
    onStep: () => steps++,
    stopping: () => steps === stopAfter,
  }).then(
    () => undefined,
    (error: Error) => error,
  );
}

function asked(): RewardBatch[] {
  if (!existsSync(at('asked'))) return [];
  const lines = readFileSync(at('asked'), 'utf8').trim().split('\n');
  rmSync(at('asked'));
  return lines.map((line) => JSON.parse(line) as RewardBatch);
}

const whole = at('whole');
/** What was asked about in the second round of it, which begins after step 4. */
let second: RewardBatch;

/** But for the time-outs of its configuration, and checkpoints that a stop brings. */
function expectSameRun(out: string, reference: string): void {
  const [found, expected] = [out, reference].map((run) => fingerprintOfRun(run));
  for (const name of Object.keys(expected!))
    if (!/^config|^checkpoints(?!\/6)/.test(name)) expect(found![name], name).toEqual(expected![name]);
}

describe('a run with rewards of a task', () => {
  it('asks about every response once, with its row, and logs what they say', async () => {
    expect(await train(configOf('run'), whole)).toBeUndefined();
    const batches = asked();
    second = batches[1]!;
    expect(batches.map(({ responses }) => responses.length)).toEqual([8, 8]);
    for (const { prompts, rows, tokens, responses, ended } of batches) {
      rows.forEach((row, i) => {
        expect(prompts[i]).toBe(row.instruction);
        expect(row).toHaveProperty('output');
        expect(tokens[i]!.join('').startsWith(responses[i]!)).toBe(true);
        expect(ended[i]).toBe(tokens[i]!.length < 5 || tokens[i]!.at(-1) === '<|endoftext|>');
      });
    }
    // Every optimizer step takes half a round: two passes of two steps.
    const steps = readMetrics(join(whole, 'metrics.jsonl')).filter(({ phase }) => phase === 'train');
    const metric = (name: string) => steps.map((row) => row[name] as number);
    const mean = (f: (batch: RewardBatch, i: number) => number) => {
      const [first] = batches;
      return first!.responses.reduce((sum, _, i) => sum + f(first!, i), 0) / 8;
    };
    const length = mean(({ responses }, i) => responses[i]!.length);
    const wordy = mean(({ tokens }, i) =>
      tokens[i]!.reduce((sum, text) => sum + (text.includes('a') ? 1 : -0.5), 0),
    );
    const pass = (name: string) => (metric(name)[0]! + metric(name)[1]!) / 2;
    expect(pass('task_reward_length')).toBeCloseTo(length, 12);
    expect(pass('task_reward_wordy')).toBeCloseTo(wordy, 12);
    expect(pass('task_reward')).toBeCloseTo(0.5 * length + 2 * wordy, 12);
    steps.forEach((_, i) => {
      const total = metric('task_reward')[i]! + metric('reward_sequence')[i]!;
      expect(metric('total_reward')[i]).toBeCloseTo(total, 5);
    });
    expect(readFileSync(join(whole, 'inputs.json'), 'utf8')).toContain('"rewards[1].module"');
  });

  it('the report draws them', () => {
    const page = at('page/report.html');
    writeReport([whole], page);
    const files = readdirSync(at('page/report-files'));
    for (const name of ['task_reward', 'total_reward', 'task_reward_length', 'task_reward_wordy'])
      expect(files).toContain(`training-${name}.svg`);
    expect(readFileSync(page, 'utf8')).toContain('Reward wordy, per response');
  });

  it.each([3, 5])(
    'stopped after step %i and resumed: the same bytes, and nothing is asked again',
    async (stopAfter) => {
      const out = at(`stopped-${stopAfter}`);
      expect(await train(configOf('run'), out, { stopAfter })).toMatchObject({ exitCode: 130 });
      expect(await train(configOf('run'), out, { resume: true })).toBeUndefined();
      expectSameRun(out, whole);
      expect(asked().flatMap(({ responses }) => responses)).toHaveLength(16);
    },
  );

  it.each([
    ['throw', /^reward length \(.*length\.mjs\) threw "no such answer" on .*train\.jsonl:\d+;/],
    [
      'hang',
      /^reward length \(.*length\.mjs\) gave no answer within 0\.5 s for 8 rows, .*train\.jsonl:\d+ to train\.jsonl:\d+; a larger timeout/,
    ],
    ['nan', /^reward length \(.*length\.mjs\) gave NaN, expected a finite number, for .*train\.jsonl:\d+;/],
  ])('one that fails (%s) names row and module, and the run goes on from where it was', async (how, said) => {
    const timeout = how === 'hang' ? 0.5 : 60;
    const config = configOf(`failing-${how}`, { rewards: [{ ...rewards[0], timeout }, rewards[1]] });
    const out = at(`failed-${how}`);
    writeFileSync(at('how'), `${how} ${(second.rows[3]!.answer as { number: number }).number}`);
    const error = await train(config, out);
    rmSync(at('how'));
    expect(error).toBeInstanceOf(RunError);
    expect(error!.message.replaceAll(place.path, '')).toMatch(said);
    expect(error!.message).toMatch(/; stopped after step 4 of 6, saved; go on with --resume$/);
    if (how === 'throw' || how === 'nan') {
      const [, line] = /train\.jsonl:(\d+);/.exec(error!.message)!;
      expect(JSON.parse(readFileSync(world.train, 'utf8').split('\n')[Number(line) - 1]!)).toEqual(
        second.rows[3],
      );
    }
    expect(await train(config, out, { resume: true })).toBeUndefined();
    expectSameRun(out, whole);
    asked();
  });

  it('a function of the caller stands beside those of the configuration', async () => {
    const config = configOf('given', { rewards: undefined, train: { steps: 1, warmup: 0 } });
    const out = at('given');
    const given = {
      name: 'given',
      reward: ({ responses }: RewardBatch) => responses.map(() => 3),
      weight: 2,
    };
    expect(await train(config, out, { rewards: [given] })).toBeUndefined();
    expect(readMetrics(join(out, 'metrics.jsonl')).find(({ phase }) => phase === 'train')).toMatchObject({
      task_reward_given: 3,
      task_reward: 6,
    });
    const twice = await train(configOf('twice'), at('twice'), { rewards: [{ ...given, name: 'wordy' }] });
    expect(twice).toBeInstanceOf(UsageError);
    expect(twice!.message).toBe('rewards: two are called wordy; give each a name of its own');
    expect(existsSync(at('twice'))).toBe(false);
  });
});

describe('what is refused before anything is written', () => {
  it.each([
    [
      { rewards: [{ module: './absent.mjs' }] },
      'minillm',
      /rewards\[0\]\.module: .*absent\.mjs does not exist/,
    ],
    [
      { rewards: [{ module: './length.mjs', export: 'none' }] },
      'opd',
      /has no function as its export none; expected one as/,
    ],
    [
      { rewards: [{ module: './endless.mjs', timeout: 0.3 }] },
      'opd',
      /rewards\[0\]\.module: .*endless\.mjs: is not loaded within 0\.3 s/,
    ],
    [{ rewards: [{ module: './train.jsonl' }] }, 'opd', /rewards\[0\]\.module: .*train\.jsonl: /],
    [{}, 'gkd', /rewards: gkd has no policy gradient that they could enter; take minillm or opd/],
    [{ rewards: [rewards[0], rewards[0]] }, 'minillm', /rewards: two are called length/],
    [{ rewards: [] }, 'minillm', /rewards: .*1/],
    [
      { objective: { returns: 'gae' } },
      'minillm',
      /objective\.length_norm: remaining with returns gae and rewards of a task/,
    ],
  ])('%j %s', async (change, method, said) => {
    const out = at('refused');
    await expect(
      readTrainConfig(configOf('refused', change, method), []).then((config) =>
        runTraining(config, out, { backend, log: () => {}, quiet: true }),
      ),
    ).rejects.toThrow(said);
    expect(existsSync(out)).toBe(false);
  });
});

it('the example of docs/rewards.md', async () => {
  const [module] = codeBlocks('rewards.md', 'js');
  const [yaml] = codeBlocks('rewards.md', 'yaml');
  writeFileSync(at('reward.mjs'), module!);
  writeFileSync(at('questions.jsonl'), codeBlocks('rewards.md', 'json')[0]!);
  const config = at('rewarded.yaml');
  writeFileSync(config, yaml!.replaceAll('node_modules/minillm-rl', repository.replace(/\/$/, '')));
  const out = at('rewarded');
  expect(await train(config, out)).toBeUndefined();
  const steps = readMetrics(join(out, 'metrics.jsonl')).filter(({ phase }) => phase === 'train');
  expect(steps).toHaveLength(4);
  for (const row of steps) {
    const [right, price, task] = ['task_reward_answered', 'task_reward_price', 'task_reward'].map(
      (name) => row[name] as number,
    );
    expect(price).toBeCloseTo(-0.01 * (row.response_length as number), 10);
    expect(task).toBeCloseTo(2 * right! + price!, 10);
    expect(row.total_reward).toBeCloseTo(task! + 0.1 * (row.reward_sequence as number), 4);
  }
});

it('a module in TypeScript is read where tsx is there, as in a checkout', async () => {
  writeFileSync(
    at('typed.ts'),
    'export default ({ responses }: { responses: string[] }): number[] => responses.map(() => 1);\n',
  );
  const thread = new RewardThread(at('typed.ts'), 'default');
  const batch = { prompts: [''], responses: ['a'], rows: [{}], tokens: [['a']], ended: [true] };
  expect(await thread.ready.then(() => thread.ask(batch))).toEqual([1]);
  thread.close();
  await expect(thread.ask(batch)).rejects.toThrow('its thread has ended');
  await expect(thread.ask(batch)).rejects.toThrow('its thread has ended');
});
