import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { runTraining } from '../../src/runs/train.js';
import { type BackendInfo, initBackend } from '../../src/tensor/backend.js';
import { fingerprintOfRun } from '../helpers/cli.js';
import { compiledProgram } from '../helpers/compiled.js';
import { type FileWorld, jsonl, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { mpiAbsent, mpirun } from '../helpers/mpi.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const absent = await mpiAbsent();
const script = fileURLToPath(new URL('trainRanks.mjs', import.meta.url));
const place = temporaryDirectory('ranks');
const cases = {
  minillm: { objective: { alpha: 0.2, baseline: 'action-value' } },
  gkd: { gkd: { lambda: 0.7 } },
  sft: {},
};
type Name = keyof typeof cases;
const names = Object.keys(cases) as Name[];
let backend: BackendInfo;
let world: FileWorld;

const file = (name: string): string => join(place.path, name);
const train = { steps: 6, batch_size: 4, lr: 0.01, warmup: 2, shards: 4 };
const alone = async (config: string, out: string, resume = false): Promise<void> => {
  await runTraining(await readTrainConfig(config, []), out, { backend, resume, quiet: true, log: () => {} });
};

/** What the runs of `names` are to be, made by one process. */
const whole: Partial<Record<Name, Record<string, string>>> = {};
beforeAll(async () => {
  if (absent !== undefined) return;
  backend = await initBackend({ backend: 'wasm' });
  world = await writeFileWorld(place.path);
  for (const name of names) {
    writeConfig(file(`${name}.yaml`), worldConfig(world, name, { ...cases[name], backend: 'wasm', train }));
    await alone(file(`${name}.yaml`), file(`${name}-1`));
    whole[name] = fingerprintOfRun(file(`${name}-1`));
  }
});
afterAll(place.remove);

/** The command of one rank, after node; `at` is where it works. */
const command = (config: string, out: string, { at = place.path, main = compiledProgram } = {}): string[] => [
  ...['--import', `data:text/javascript,process.chdir(${JSON.stringify(at)})`],
  ...[main, 'train', config, '--out', file(out), '--quiet'],
];
const together = (first: string[], second: string[]) =>
  mpirun(1, [...first, ':', '-n', '1', process.execPath, ...second]);

describe.skipIf(absent !== undefined)(`processes under mpirun${absent ? ` (${absent})` : ''}`, () => {
  it.each([2, 4])(
    '%i make the same bytes as one with the same shards: minillm with text and values, gkd, sft',
    async (size) => {
      const runs = names.map((name) => ({ config: file(`${name}.yaml`), out: file(`${name}-${size}`) }));
      const { code, stderr } = await mpirun(size, [script, JSON.stringify(runs)]);
      expect([code, stderr]).toEqual([0, '']);
      for (const name of names) {
        expect(fingerprintOfRun(file(`${name}-${size}`)), name).toEqual(whole[name]);
        const environment = readFileSync(file(`${name}-${size}/environment.json`), 'utf8');
        expect(JSON.parse(environment).processes).toBe(size);
      }
    },
  );

  it('so they do on the native engine, whose gradients are summed where they lie', async (test) => {
    const native = await initBackend({ backend: 'tensorflow', threads: 1 }).catch((error: Error) => error);
    if (native instanceof Error) return test.skip(`the native engine is absent: ${native.message}`);
    const change = { ...cases.minillm, backend: 'tensorflow', train: { ...train, steps: 4 } };
    const config = writeConfig(file('native.yaml'), worldConfig(world, 'minillm', change));
    const wasm = backend;
    backend = native;
    await alone(config, file('native-1'));
    backend = await initBackend({ backend: 'wasm' }).then(() => wasm);
    const runs = [{ config, out: file('native-2') }];
    const { code, stderr } = await mpirun(2, [script, JSON.stringify(runs), 'tensorflow']);
    expect([code, stderr]).toEqual([0, '']);
    expect(fingerprintOfRun(file('native-2'))).toEqual(fingerprintOfRun(file('native-1')));
  });

  it('a rank that is asked to stop while it samples has all save and stop; one that is killed ends all; any number goes on to the same bytes', async () => {
    const run = { config: file('minillm.yaml'), out: file('killed') };
    // The first validation has some twenty pauses, a round and its steps ten more.
    const stopped = await mpirun(2, [script, JSON.stringify([{ ...run, stop: { rank: 1, pause: 40 } }])]);
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/^stopped at step [1-4] of 6, saved; go on with --resume$/m);
    const { code, stderr } = await mpirun(2, [
      script,
      JSON.stringify([{ ...run, resume: true, kill: { rank: 1, pause: 8 } }]),
    ]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/rank 1 .* exited on signal 9 \(Killed\)/);
    expect(existsSync(file('killed/final'))).toBe(false);
    expect(readdirSync(file('killed/checkpoints')).length).toBeGreaterThan(0);
    cpSync(file('killed'), file('killed-alone'), { recursive: true });
    const resumed = await mpirun(4, [script, JSON.stringify([{ ...run, resume: true }])]);
    expect([resumed.code, resumed.stderr]).toEqual([0, '']);
    await alone(run.config, file('killed-alone'), true);
    for (const out of ['killed', 'killed-alone']) expect(fingerprintOfRun(file(out))).toEqual(whole.minillm);
  });

  it('a rank with another configuration, other data or another version is refused in one line', async () => {
    const other = { ...worldConfig(world, 'sft', { backend: 'wasm', train: { ...train, lr: 0.02 } }) };
    const otherConfig = writeConfig(file('other.yaml'), other);
    // The same path, and not the same file.
    const data = {
      train: '/proc/self/cwd/train.jsonl',
      valid: world.valid,
      template: 'none',
      max_prompt_tokens: 8,
      max_tokens: 14,
    };
    const elsewhere = file('elsewhere');
    mkdirSync(elsewhere);
    writeFileSync(join(elsewhere, 'train.jsonl'), jsonl([{ instruction: 'ab:', output: 'ba' }]));
    const byCwd = writeConfig(file('cwd.yaml'), worldConfig(world, 'sft', { backend: 'wasm', train, data }));
    const older = file('older');
    cpSync(dirname(dirname(compiledProgram)), join(older, '.compiled'), { recursive: true });
    const root = fileURLToPath(new URL('../../', import.meta.url));
    const version = { ...JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')), version: '0.0.1' };
    writeFileSync(join(older, 'package.json'), JSON.stringify(version));
    symlinkSync(join(root, 'node_modules'), join(older, 'node_modules'));
    const sft = file('sft.yaml');
    const outcomes = await Promise.all([
      together(command(sft, 'refused-1'), command(otherConfig, 'refused-1')),
      together(command(byCwd, 'refused-2'), command(byCwd, 'refused-2', { at: elsewhere })),
      together(
        command(sft, 'refused-3'),
        command(sft, 'refused-3', { main: join(older, '.compiled/cli/main.js') }),
      ),
    ]);
    const lines = outcomes.map(({ stderr }) =>
      stderr.split('\n').filter((line) => line.startsWith('minillm')),
    );
    expect(lines).toEqual([
      [
        expect.stringMatching(
          /^minillm: rank 1 \(.+\): train.lr is 0.02, and on rank 0 \(.+\) 0.01; all ranks need the same$/,
        ),
      ],
      [
        expect.stringMatching(
          /^minillm: rank 1 \(.+\): the contents of data.train is [0-9a-f]{12}…, and on rank 0 \(.+\) [0-9a-f]{12}…; all ranks need the same$/,
        ),
      ],
      [
        expect.stringMatching(
          /^minillm: rank 1 \(.+\): the program is minillm-rl 0\.0\.1, and on rank 0 \(.+\) minillm-rl .+; all ranks need the same$/,
        ),
      ],
    ]);
    expect(outcomes.map(({ code }) => code)).toEqual([2, 2, 2]);
  });
});
