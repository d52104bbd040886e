import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, jsonl, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('arrays');
const at = (name: string): string => join(place.path, name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

const wasm = ['--backend', 'wasm', '--quiet'];
const prompts = [{ prompt: 'ab:' }, { ids: [4, 5] }];
const rollouts = [{ prompt_ids: [4, 5], response_ids: [6, 0] }];
const dolly = Array.from({ length: 9 }, (_, i) => ({ instruction: `q${i}`, context: '', response: `a${i}` }));

/** What is read, and a command that reads it. */
const readers: [string, unknown[] | undefined, (file: string) => string[]][] = [
  [
    'generate',
    prompts,
    (file) => ['generate', '--model', world.student, '--input', file, '--max-new-tokens', '3', ...wasm],
  ],
  [
    'score',
    [{ prompt: 'ab:', response: 'ba' }, { ids: [4, 5, 6] }],
    (file) => ['score', '--model', world.student, '--input', file, ...wasm],
  ],
  [
    'inspect --rollouts',
    rollouts,
    (file) => [
      'inspect',
      '--student',
      world.student,
      '--teacher',
      world.teacher,
      '--rollouts',
      file,
      '--json',
      ...wasm,
    ],
  ],
  [
    'inspect --prompts',
    prompts,
    (file) => [
      'inspect',
      '--student',
      world.student,
      '--teacher',
      world.teacher,
      '--prompts',
      file,
      '--max-new-tokens',
      '3',
      '--json',
      ...wasm,
    ],
  ],
  [
    'inspect --pretrain',
    [{ ids: [4, 5, 6] }],
    (file) => {
      writeFileSync(at('rollouts.jsonl'), jsonl(rollouts));
      return [
        'inspect',
        '--student',
        world.student,
        '--teacher',
        world.teacher,
        '--rollouts',
        at('rollouts.jsonl'),
        '--pretrain',
        file,
        '--json',
        ...wasm,
      ];
    },
  ],
  [
    'eval',
    undefined,
    (file) => [
      'eval',
      '--model',
      world.student,
      '--data',
      file,
      '--template',
      'none',
      '--seeds',
      '1',
      '--metrics',
      'lm_loss,rouge_l_sampled',
      '--max-new-tokens',
      '3',
      ...wasm,
    ],
  ],
  [
    'data build dolly',
    dolly,
    (file) => [
      'data',
      'build',
      'dolly',
      '--input',
      file,
      '--out',
      at('dolly'),
      '--valid',
      '2',
      '--test',
      '2',
    ],
  ],
];

describe('a JSON array of rows is read as JSONL is, whatever the name', () => {
  it.each(readers)('%s', async (_, given, command) => {
    const rows =
      given ??
      readFileSync(world.valid, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    const outputs: string[] = [];
    for (const [name, text] of [
      ['rows.jsonl', jsonl(rows)],
      ['rows.json', JSON.stringify(rows, null, 2)],
      ['rows.txt', `\uFEFF ${JSON.stringify(rows)}`],
    ] as const) {
      writeFileSync(at(name), text);
      const result = await runInProcess(...command(at(name)));
      expect(result.code, result.stderr).toBe(0);
      outputs.push(result.stdout);
    }
    expect(outputs[0]).not.toBe('');
    expect(outputs[1]).toBe(outputs[0]);
    expect(outputs[2]).toBe(outputs[0]);
  });

  it('train: training and validation data', async () => {
    const metrics: string[] = [];
    for (const form of ['lines', 'array']) {
      const file = (path: string): string => {
        if (form === 'lines') return path;
        const rows = readFileSync(path, 'utf8').trim().split('\n').join(',');
        writeFileSync(`${path}.json`, `[${rows}]`);
        return `${path}.json`;
      };
      const data = { train: file(world.train), valid: file(world.valid) };
      const change = { data, train: { steps: 2 }, eval: { every: 1 } };
      const config = writeConfig(at(`${form}.yaml`), worldConfig(world, 'seqkd', change));
      const result = await runInProcess('train', config, '--out', at(form), ...wasm);
      expect(result.code, result.stderr).toBe(0);
      metrics.push(readFileSync(join(at(form), 'metrics.jsonl'), 'utf8').replace(/"wall_s":[\d.]+/g, ''));
    }
    expect(metrics[1]).toBe(metrics[0]);
  });

  it('a row that is wrong is named by its place in the array', async () => {
    writeFileSync(at('bad.json'), JSON.stringify([{ prompt: 'ab' }, 7]));
    const result = await runInProcess(
      'generate',
      '--model',
      world.student,
      '--input',
      at('bad.json'),
      ...wasm,
    );
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toContain('bad.json[1]: expected a JSON object, found a number');
  });
});
