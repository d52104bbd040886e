import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { launcherWords } from '../../src/runs/launcher.js';
import { initBackend } from '../../src/tensor/backend.js';
import { fingerprintOfRun, runInProcess, spawnProgram } from '../helpers/cli.js';
import { compiledProgram } from '../helpers/compiled.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

vi.setConfig({ testTimeout: 300_000 });
await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('launcher');
const at = (...name: string[]): string => join(place.path, ...name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  const train = { steps: 40, warmup: 0 };
  writeConfig(
    at('base.yaml'),
    worldConfig(world, 'sft', { train, eval: { every: 0 }, checkpoint: { every: 0 } }),
  );
  // As srun: its environment goes along, but no channel; SIGTERM is passed on; the run's exit code is its own.
  writeFileSync(
    at('launch it.mjs'),
    `import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
const [mark, ...command] = process.argv.slice(2);
const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'inherit', 'inherit'] });
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => {
  appendFileSync(${JSON.stringify(at('launched.log'))}, JSON.stringify({ mark, command, code, signal }) + '\\n');
  if (code) console.error('launcher: error: task 0: exited with exit code ' + code);
  process.exit(code ?? 137);
});
`,
  );
});
afterAll(place.remove);

describe('the words of a launcher', () => {
  it.each([
    ['srun -n1 --exclusive', ['srun', '-n1', '--exclusive']],
    ['  mpirun\t-n 1  ', ['mpirun', '-n', '1']],
    [`env "A=x y" B='p "q"' C="1\\"2" d\\ e ''`, ['env', 'A=x y', 'B=p "q"', 'C=1"2', 'd e', '']],
    [`a "\\n" '\\' $HOME *`, ['a', '\\n', '\\', '$HOME', '*']],
  ])('%s', (text, words) => expect(launcherWords(text)).toEqual(words));

  it.each([
    ['srun "-n1', '--launcher: srun "-n1: a " is not closed'],
    [' ', '--launcher: expected a command that starts what follows it'],
    ['no-such-launcher -n1', '--launcher: no-such-launcher is not on the PATH; give a command'],
    ['/nowhere/srun', '--launcher: /nowhere/srun is no program that can be started'],
  ])('refused in one line before anything begins: %s', async (text, line) => {
    const file = writeConfig(at('refused.yaml'), { base: 'base.yaml' });
    const result = await runInProcess('sweep', file, '--out', at('refused'), '--launcher', text);
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toContain(line);
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(existsSync(at('refused'))).toBe(false);
  });
});

const sweep = (file: string, out: string, launcher = launcherOf('some words')) =>
  spawnProgram(
    ...['sweep', file, '--out', out, '--backend', 'wasm', '--json', '--launcher', launcher],
    ...['--parallel', '1'],
  );
interface Launched {
  mark: string;
  command: string[];
  code: number;
}
const launcherOf = (mark: string): string => `'${process.execPath}' "${at('launch it.mjs')}" '${mark}'`;
const steps = (directory: string): number => {
  const file = join(directory, 'metrics.jsonl');
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
};

describe('a sweep whose runs a launcher starts', () => {
  it('killed, its runs save and end; the next goes on, to the bytes of a run by itself', async () => {
    const evaluate = { data: world.valid, seeds: [1], max_new_tokens: 4, metrics: ['rouge_l_greedy'] };
    const file = writeConfig(at('sweep.yaml'), { base: 'base.yaml', evaluate });
    const out = at('out');
    const running = sweep(file, out);
    while (steps(join(out, 'run')) < 4 && running.child.exitCode === null) await wait(5);
    running.child.kill('SIGKILL');
    await running.done;
    const { code, stderr, stdout } = await sweep(file, out).done;
    expect(code, stderr).toBe(0);
    const [row] = (JSON.parse(stdout) as { runs: Record<string, unknown>[] }).runs;
    expect(row).toMatchObject({ status: 'done', steps: 40 });
    // Without the signal there would be no checkpoint before the end.
    expect(readFileSync(join(out, 'logs', 'run.log'), 'utf8')).toMatch(/resuming at step [1-9]/);
    expect(readdirSync(join(out, 'logs')).filter((name) => name.endsWith('.pid'))).toEqual([]);
    expect(existsSync(join(out, '.run.pid'))).toBe(false);
    const launched = readFileSync(at('launched.log'), 'utf8').trimEnd().split('\n');
    const ended = launched.map((line) => JSON.parse(line) as Launched);
    expect(ended.map(({ mark }) => mark)).toEqual(ended.map(() => 'some words'));
    const program = ({ command }: Launched): string => command[command.indexOf(compiledProgram) + 1]!;
    const trained = ended.filter((one) => program(one) === 'train');
    expect(trained.map(({ code }) => code)).toEqual([130, 0]);
    expect(program(ended.at(-1)!)).toBe('eval');
    const alone = await runInProcess(
      'train',
      join(out, 'configs', 'run.yaml'),
      '--out',
      at('alone'),
      '--backend',
      'wasm',
    );
    expect(alone.code, alone.stderr).toBe(0);
    expect(fingerprintOfRun(join(out, 'run'))['final/model.safetensors']).toBe(
      fingerprintOfRun(at('alone'))['final/model.safetensors'],
    );
  });

  it('a run that fails is told by its own last line, not by the launcher’s', async () => {
    const set = { 'train.lr': 1e17, 'train.clip': 0 };
    const file = writeConfig(at('failing.yaml'), { base: 'base.yaml', set });
    const { code, stdout } = await sweep(file, at('failing')).done;
    expect(code).toBe(1);
    const [row] = (JSON.parse(stdout) as { runs: { error: string }[] }).runs;
    expect(row!.error).toMatch(/step \d; checkpoints saved before are intact/);
  });
});

describe('the claim of a run on another machine', () => {
  const keeper = compiledProgram.replace('cli/main.js', 'runs/launchKeeper.js');
  /** A launcher that starts a run elsewhere, which claims its directory and ends without giving it back. */
  const launch = async (name: string, ending: string): Promise<{ code: number | null; claim: string }> => {
    const claim = at(`.${name}.pid`);
    const text = `JSON.stringify({ pid: 7, host: 'not-${hostname()}', launch: process.env.MINILLM_LAUNCH })`;
    const script = `require('node:fs').writeFileSync(${JSON.stringify(claim)}, ${text}); ${ending}`;
    const child = spawn(process.execPath, [keeper], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    child.send({ command: [process.execPath, '-e', script], claim });
    const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
    return { code, claim };
  };

  it('goes with its launch, when the launcher says that it has ended', async () => {
    const { code, claim } = await launch('killed', 'process.exit(137)');
    expect(code).toBe(137);
    expect(existsSync(claim)).toBe(false);
  });

  it('stays when the launcher was killed, and when it is of another launch', async () => {
    const killed = await launch('left', 'process.kill(process.pid, "SIGKILL")');
    expect(killed.code).toBe(1);
    expect(existsSync(killed.claim)).toBe(true);
    const other = at('.other.pid');
    const change = `require('node:fs').writeFileSync(${JSON.stringify(other)}, '{"pid":7,"host":"x","launch":"y"}')`;
    expect((await launch('other', `${change}; process.exit(1)`)).code).toBe(1);
    expect(existsSync(other)).toBe(true);
  });
});
