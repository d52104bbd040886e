import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import type { Inspection } from '../../src/training/inspect.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, jsonl, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { expectSame, fixtures, pairs } from '../training/inspect.suite.js';

await initBackend({ backend: 'cpu' });
const place = temporaryDirectory('inspect');
const at = (name: string): string => join(place.path, name);
afterAll(place.remove);

const pair = pairs[0]!;
const inspect = (...more: string[]) =>
  runInProcess(
    ...['inspect', '--student', `${fixtures}${pair.student}`, '--teacher', `${fixtures}${pair.teacher}`],
    ...['--backend', 'cpu', '--quiet', ...more],
  );

function file(name: string, text: string): string {
  writeFileSync(at(name), text);
  return at(name);
}

describe('inspect --json', () => {
  const chosen = [0, 1, 2, 9, 12, 21].map((i) => pair.cases[i]!);
  it.each(chosen.map((c) => [`${c.preset} ${JSON.stringify(c.set)}`, c] as const))(
    'prints the numbers of torch: %s',
    async (_, c) => {
      const rollouts = file('given.jsonl', jsonl(pair.rollouts[c.rollouts]!));
      const texts = file('texts.jsonl', jsonl(pair.texts.map((ids) => ({ ids }))));
      const sets = Object.entries(c.set).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
      const { code, stdout, stderr } = await inspect(
        ...['--rollouts', rollouts, '--preset', c.preset, '--json', ...sets],
        ...(c.texts ? ['--pretrain', texts] : []),
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const found = JSON.parse(stdout) as Inspection & { objective: Record<string, unknown> };
      expectSame(found, c.expected);
      expect(found.objective).toMatchObject({
        ...c.set,
        ...('length_norm' in c.set && { length_norm: 'off' }),
      });
    },
  );

  it('samples the responses itself; its rollouts, given back, make the same numbers', async () => {
    const prompts = file('prompts.jsonl', jsonl([{ ids: [4, 9] }, { ids: [7] }]));
    const args = ['--preset', 'lmops', '--json'];
    const sampling = ['--prompts', prompts, '--samples', '3', '--max-new-tokens', '6', '--seed', '3'];
    const first = JSON.parse((await inspect(...sampling, ...args)).stdout);
    expect(first.rollouts).toHaveLength(6);
    expect(first.rollouts[0].prompt_ids).toEqual([4, 9]);
    expect(new Set(first.rollouts.map((r: { response_ids: number[] }) => r.response_ids.join())).size).toBe(
      6,
    );
    for (const ratio of first.ratio.flat()) expect(ratio).toBeCloseTo(1, 4);
    const given = file('sampled.jsonl', jsonl(first.rollouts));
    const second = JSON.parse((await inspect('--rollouts', given, ...args)).stdout);
    expectSame(second, first);
    // Sampled again with the same seed, and computed from the ids alone.
    expect(JSON.parse((await inspect(...sampling, ...args)).stdout)).toEqual(first);
    const bare = first.rollouts.map(({ prompt_ids, response_ids }: Record<string, unknown>) => ({
      prompt_ids,
      response_ids,
    }));
    const third = JSON.parse((await inspect('--rollouts', file('bare.jsonl', jsonl(bare)), ...args)).stdout);
    expectSame(third, first);
  });
});

describe('inspect for people', () => {
  it('a row per token, the parts of the loss, every parameter', async () => {
    const rollouts = file('table.jsonl', jsonl(pair.rollouts.known!));
    const { stdout } = await inspect('--rollouts', rollouts, '--preset', 'lmops');
    const { expected } = pair.cases[0]!;
    expect(stdout).toContain('response 1 of 8 (3 prompt tokens)');
    const lines = stdout.split('\n');
    const first = lines
      .find((line) => /^ *0 /.test(line))!
      .trim()
      .split(/ +/);
    expect(first[1]).toBe(String(pair.rollouts.known![0]!.response_ids[0]));
    expect(Number(first[4])).toBeCloseTo(expected.w[0]![0]!, 3);
    expect(Number(first[5])).toBeCloseTo(expected.rewards[0]![0]!, 3);
    expect(lines.filter((line) => /^ *\d+ +\d+ +-/.test(line))).toHaveLength(expected.tokens);
    expect(lines.find((line) => line.trim().startsWith('pg_loss'))).toContain(expected.pg_loss.toFixed(3));
    for (const name of Object.keys(expected.param_grad_norms)) expect(stdout).toContain(`${name}  `);
  });
});

describe('inspect, rewards of a task', () => {
  it('stand beside the teacher’s: β times one, and what the task says from the token on', async () => {
    const [first, second] = pair.rollouts.known!;
    const given = [
      { ...first!, task_reward: 2 },
      { ...second!, task_reward: second!.response_ids.map(() => 0.5) },
    ];
    const rollouts = file('rewarded.jsonl', jsonl(given));
    const switches = ['objective.length_norm=off', 'baseline=none', 'alpha=0', 'kl_coef=0.25'];
    const args = ['--rollouts', rollouts, '--preset', 'paper', ...switches.flatMap((s) => ['--set', s])];
    const found = JSON.parse((await inspect(...args, '--json')).stdout);
    const at = (row: number, t: number) => {
      const later = (x: number[]) => x.slice(t).reduce((sum, value) => sum + value, 0);
      return 0.25 * (later(found.rewards[row]) - found.rewards[row][t]) + later(found.task_rewards[row]);
    };
    const length = first!.response_ids.length;
    expect(found.task_rewards[0]).toEqual([...new Array(length - 1).fill(0), 2]);
    expect(found.task_rewards[1]).toEqual(second!.response_ids.map(() => 0.5));
    found.returns.forEach((row: number[], b: number) => {
      row.forEach((g, t) => {
        expect(g).toBeCloseTo(at(b, t), 10);
      });
    });
    expect(found.rollouts.map((row: { task_reward: unknown }) => row.task_reward)).toEqual(
      given.map((row) => row.task_reward),
    );
    expect((await inspect(...args)).stdout).toMatch(/reward +task +return/);
  });
});

describe('inspect, bad input: one line, code 2', () => {
  const good = { prompt_ids: [4, 9], response_ids: [5, 6, 1] };
  const row = (change: Record<string, unknown>) => JSON.stringify({ ...good, ...change });
  it.each([
    ['cut in the middle', `${row({})}\n${row({}).slice(0, -9)}`, /rows\.jsonl:2: not JSON .*truncated\?/],
    [
      'an id beyond the vocabulary',
      row({ response_ids: [5, 37] }),
      /rows\.jsonl:1: the token id 37 .* of 37/,
    ],
    ['a negative id', row({ prompt_ids: [-1] }), /rows\.jsonl:1: "prompt_ids"\[0\]: -1 is no token id/],
    ['an id in quotes', row({ response_ids: ['5'] }), /"response_ids"\[0\]: "5" is no token id/],
    ['no response', '{"prompt_ids":[1]}', /rows\.jsonl:1: no "response_ids" \(found prompt_ids\)/],
    ['an empty response', row({ response_ids: [] }), /"response_ids": expected a list .* not empty/],
    ['an empty prompt', row({ prompt_ids: [] }), /"prompt_ids": expected a list .* not empty/],
    ['NaN', row({}).replace('}', ',"old_logprobs":[-1,NaN,-2]}'), /rows\.jsonl:1: not JSON/],
    ['null', row({ old_logprobs: [-1, null, -2] }), /"old_logprobs"\[1\]: null is no log-probability/],
    [
      'infinite',
      row({}).replace('}', ',"teacher_logprobs":[-1,-1e999,-2]}'),
      /"teacher_logprobs"\[1\]: null/,
    ],
    ['a positive one', row({ teacher_logprobs_t: [-1, -2, 0.5] }), /"teacher_logprobs_t"\[2\]: 0.5 is no/],
    ['too few', row({ old_logprobs: [-1] }), /"old_logprobs": 1 numbers for 3 response tokens/],
    ['not a list', row({ old_logprobs: 'x' }), /"old_logprobs": expected a list/],
    ['a ratio that overflows', row({ old_logprobs: [-1, -2, -900] }), /^minillm: .* is -?(Infinity|NaN)/],
    ['too long', row({ response_ids: new Array(60).fill(3) }), /rows\.jsonl:1: 62 tokens, .* context of 40/],
    ['a list instead of an object', '[1,2]', /rows\.jsonl\[0\]: expected a JSON object/],
    [
      'a reward that is none',
      row({ task_reward: [1, 2] }),
      /"task_reward": \[1,2\]; expected a finite number, or one/,
    ],
    ['nothing', '', /rows\.jsonl: has no rows/],
  ])('%s', async (_, text, message) => {
    const { code, stdout, stderr } = await inspect('--rollouts', file('rows.jsonl', text), '--json');
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it.each([
    [['--set', 'alpha'], /--set alpha: expected switch=value/],
    [['--set', 'alfa=1'], /no such switch; expected one of alpha, gamma/],
    [['--set', 'alpha=2'], /objective\.alpha/],
    [['--set', 'alpha=[1'], /--set alpha=\[1: not a YAML value/],
    [['--set', '__proto__=1'], /no such switch/],
    [['--set', 'max_response=1', '--preset', 'lmops'], /max_response 1 is shorter/],
    [['--preset', 'mine'], /Allowed choices are minillm, lmops, paper/],
    [['--pretrain', 'absent.jsonl'], /absent\.jsonl cannot be read: no such file/],
    [['--prompts', 'both.jsonl'], /either --rollouts FILE, or --prompts FILE/],
    [['--teacher', 'absent'], /absent: no such model directory/],
  ])('%j', async (args, message) => {
    const rollouts = file('good.jsonl', jsonl([good]));
    const { code, stderr } = await inspect('--rollouts', rollouts, ...args);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(2);
  });

  it('texts that are none', async () => {
    const rollouts = file('good.jsonl', jsonl([good]));
    const texts = (text: string) => inspect('--rollouts', rollouts, '--pretrain', file('texts.jsonl', text));
    expect((await texts('{"ids":[3]}')).stderr).toMatch(/texts\.jsonl:1: "ids" has one token/);
    expect((await texts('{"ids":[3,99]}')).stderr).toMatch(/texts\.jsonl:1: the token id 99/);
    expect((await texts('{"text":"a"}')).stderr).toMatch(/texts\.jsonl:1: no "ids"/);
  });

  describe('with tokenizers', () => {
    let world: FileWorld;
    beforeAll(async () => {
      world = await writeFileWorld(at('world'));
    });

    it('rows of text are sampled, tokens are shown', async () => {
      const prompts = file(
        'words.jsonl',
        jsonl([{ prompt: JSON.parse(readFileSync(world.valid, 'utf8').split('\n')[0]!).instruction }]),
      );
      const { code, stdout, stderr } = await runInProcess(
        ...['inspect', '--student', world.student, '--teacher', world.teacher, '--prompts', prompts],
        ...['--max-new-tokens', '3', '--backend', 'cpu', '--quiet'],
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(stdout).toMatch(/^t +id +token +ln q_old/m);
      expect(stdout).toMatch(/^0 +\d+ +"/m);
    });
  });
});
