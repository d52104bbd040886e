import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { oracleCommand } from '../../src/cli/commands/oracle.js';
import { UsageError } from '../../src/errors.js';
import { saveModel } from '../../src/models/checkpoint.js';
import { openPair, parsePair } from '../../src/oracle/network/pair.js';
import { runOracle } from '../../src/oracle/oracle.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { initBackend } from '../../src/tensor/backend.js';
import { tinyModel } from '../helpers/models.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { randomWorldJson } from './worlds.js';

const good = randomWorldJson(3, 3, 9);
const place = temporaryDirectory('oracle');
afterAll(place.remove);
afterEach(() => {
  vi.restoreAllMocks();
});

function file(name: string, content: string): string {
  const path = join(place.path, name);
  writeFileSync(path, content);
  return path;
}

async function run(...args: string[]): Promise<string> {
  const out: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0);
  await oracleCommand().parseAsync(['--quiet', '--samples', '2', ...args], { from: 'user' });
  return out.join('');
}

describe('minillm oracle WORLD.json', () => {
  const world = file('world.json', JSON.stringify(good));

  it('--json prints the result and nothing else', async () => {
    const text = await run(world, '--json');
    const printed = JSON.parse(text);
    const expected = runOracle(parseWorld(good, 'w'), { samples: [2] });
    expect(printed).toEqual(JSON.parse(JSON.stringify(expected)));
    expect(printed.sequences).toBe(15);
    expect(printed.gradient).toHaveLength(7);
    expect(Object.keys(printed.estimators[0])).toEqual(
      expect.arrayContaining(
        'returns baseline importance sampling alpha single_step samples relative_bias cosine variance'.split(
          ' ',
        ),
      ),
    );
    // NaN and infinity would be null.
    expect(/null/.exec(text)).toBeNull();
  });

  it('prints tables that fit a terminal, and every row with --all', async () => {
    const text = await run(world);
    expect(text).toContain('15 sequences');
    expect(text).toMatch(/\nbaseline +bias +cosine +variance +x cost\nnone +\*0 +1\.0000 /);
    expect(text).toMatch(/\nwhiten +\d/);
    expect(text).toMatch(/\nstratified K=2 +\*0 +1\.0000 /);
    for (const line of text.split('\n')) expect(line.length).toBeLessThan(120);
    const all = await run(world, '--all');
    expect(all).toMatch(/\nrao-blackwell\/position\/prefix\/independent\/0\.2 +\*0 +1\.0000 /);
    expect(all.split('\n').length).toBeGreaterThan(1500);
  });

  it('options change λ, the cut and the costs', async () => {
    const rows = async (...args: string[]) =>
      JSON.parse(await run(world, '--json', ...args)).estimators as Record<string, unknown>[];
    const find = (list: Record<string, unknown>[], wanted: object) =>
      list.find((row) => Object.entries(wanted).every(([k, v]) => row[k] === v))!;
    const usual = await rows();
    const changed = await rows('--gae-lambda', '0.5', '--truncation', '1e6', '--teacher-cost', '3');
    const gae = { returns: 'gae', values: 'wrong', baseline: 'none', alpha: 0 };
    expect(find(changed, gae).relative_bias).toBeGreaterThan(2 * Number(find(usual, gae).relative_bias));
    const cut = { importance: 'truncated', alpha: 0.2, returns: 'sampled', baseline: 'none' };
    expect(find(usual, cut).relative_bias).toBeGreaterThan(1e-3);
    expect(find(changed, cut).relative_bias).toBeLessThan(1e-12);
    expect(Number(find(changed, cut).cost) / Number(find(usual, cut).cost)).toBeCloseTo(7 / 5, 12);
  });

  it('--figure writes an SVG of its own, the numbers in its description', async () => {
    const svg = join(place.path, 'figure.svg');
    await run(world, '--figure', svg);
    const text = readFileSync(svg, 'utf8');
    expect(text).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    expect(text).toContain('One choice at a time');
    for (const label of ['rao-blackwell', 'leave-one-out K=2', 'stratified K=2', 'truncated'])
      expect(text).toContain(`>${label}<`);
    expect(text).not.toMatch(/var\(--|NaN|undefined/);
  });

  it('names a missing file, what is no JSON, and a K that cannot be', async () => {
    await expect(run('/nowhere/world.json')).rejects.toThrow('/nowhere/world.json: cannot be read (ENOENT)');
    await expect(run(file('text.json', 'method: minillm\n'))).rejects.toThrow('text.json: not JSON (');
    await expect(run(world, '--samples', '1')).rejects.toThrow(
      '--samples 1: expected whole numbers from 2 to 16',
    );
  });
});

describe('minillm oracle CONFIG.yaml', () => {
  const student = { hidden_size: 4, layers: 1, heads: 2, intermediate_size: 4, seed: 1 };
  const teacher = { ...student, family: 'gpt2', seed: 2 };
  const config = { student, teacher, vocab: 3, horizon: 2, eos: 0, prompts: [[1, 2], [2]] };

  it('judges gradients of the parameters, and gives the exact one by name in the layout of files', async () => {
    const yaml = file('pair.yaml', JSON.stringify(config)); // JSON is YAML
    const printed = JSON.parse(await run(yaml, '--json'));
    expect(printed.sequences).toBe(2 * (1 + 2 * 3));
    expect(printed.gradient.map((entry: { prompt: number }) => entry.prompt)).toEqual([0, 0, 0, 1, 1, 1]);
    expect(
      printed.estimators.every(
        (row: { claims_unbiased: boolean; relative_bias: number }) =>
          !row.claims_unbiased || row.relative_bias < 1e-9,
      ),
    ).toBe(true);
    const gradient = printed.parameter_gradient as Record<string, number[]>;
    expect(gradient['model.embed_tokens.weight']).toHaveLength(3 * 4);
    expect(gradient['model.layers.0.self_attn.q_proj.weight']).toHaveLength(16);
    // A matrix of the file, [out, in]: its transpose is what the Jacobian is in.
    await initBackend({ backend: 'cpu' });
    const pair = await openPair(parsePair(config, yaml), yaml);
    const { offset, shape } = pair.places.find(({ name }) => name.endsWith('gate_proj.weight'))!;
    const own = gradient['model.layers.0.mlp.gate_proj.weight']!;
    const logits = printed.gradient.flatMap(({ values }: { values: number[] }) => values) as number[];
    const size = pair.jacobians[0]!.length / 3;
    const [rows, columns] = shape as [number, number];
    const at = (i: number, o: number) =>
      logits.reduce(
        (sum, g, n) =>
          sum + g * pair.jacobians[Math.floor(n / 3)]![(n % 3) * size + offset + i * columns + o]!,
        0,
      );
    for (let i = 0; i < rows; i++)
      for (let o = 0; o < columns; o++) expect(own[o * rows + i]).toBeCloseTo(at(i, o), 13);
  });

  it('takes model directories, relative to the file', async () => {
    await initBackend({ backend: 'cpu' });
    const model = tinyModel(3, { vocab: 3, hidden: 4, layers: 1, positions: 6 });
    await saveModel(join(place.path, 'model'), model);
    const yaml = file('directory.yaml', JSON.stringify({ ...config, student: 'model', teacher: 'model' }));
    const printed = JSON.parse(await run(yaml, '--json'));
    expect(printed.kl).toBeCloseTo(0, 14);
  });

  it.each<[string, object, string]>([
    ['no prompts', { prompts: [] }, 'bad.yaml: prompts: Too small'],
    [
      'no teacher',
      { teacher: undefined },
      'bad.yaml: teacher: expected the path of a model directory, or a shape',
    ],
    ['an unknown field', { gamma: 1 }, 'bad.yaml: the configuration: Unrecognized key: "gamma"'],
    [
      'a foreign token',
      { prompts: [[1], [7]] },
      'bad.yaml: prompts.1: token 7 is outside the vocabulary of 3',
    ],
    ['eos beyond the vocabulary', { eos: 3 }, 'bad.yaml: eos: 3 found'],
    ['no vocabulary', { vocab: undefined }, 'bad.yaml: student: a new model needs vocab'],
    ['a horizon without end', { horizon: 99 }, 'make more than 50000 sequences'],
    [
      'too much',
      { vocab: 5, horizon: 6, student: { ...student, hidden_size: 64 } },
      'make a Jacobian of more than',
    ],
    ['heads that do not fit', { student: { ...student, heads: 3 } }, 'head_dim is 1.33'],
    ['a missing directory', { teacher: 'nowhere' }, 'nowhere: no such model directory'],
  ])('refuses %s in one line', async (_, change, message) => {
    const error = await run(file('bad.yaml', JSON.stringify({ ...config, ...change }))).then(
      () => undefined,
      (e: Error) => e,
    );
    expect(error).toBeInstanceOf(UsageError);
    expect(error!.message).toContain(message);
    expect(error!.message).not.toContain('\n');
  });

  it('refuses what is no YAML', async () => {
    await expect(run(file('text.yaml', 'a: [1'))).rejects.toThrow('text.yaml: not YAML (');
  });
});
