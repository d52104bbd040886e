import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';
import { run } from '../../src/cli/program.js';
import { compiledProgram } from './compiled.js';

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the program in this process and gives what it wrote. */
export async function runInProcess(...args: string[]): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      written[name] += String(text);
      return true;
    }),
  );
  try {
    return { code: await run(args), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface Running {
  child: ChildProcess;
  done: Promise<Outcome & { signal: string | null }>;
}

/** The program as a process of its own, compiled as in the published package, where need be in another environment. */
export function spawnProgram(...args: [{ env: NodeJS.ProcessEnv }, ...string[]] | string[]): Running {
  const [first, ...rest] = args;
  return typeof first === 'object'
    ? spawnNode([compiledProgram, ...(rest as string[])], first.env)
    : spawnNode([compiledProgram, ...(args as string[])]);
}

/** The same from its sources, as `npm run -s minillm` does in a checkout. */
export function spawnSources(...args: string[]): Running {
  return spawnNode(['--import', 'tsx', join(root, 'src/cli/main.ts'), ...args]);
}

function spawnNode(args: string[], env = process.env): Running {
  const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const written = { stdout: '', stderr: '' };
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    written.stdout += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    written.stderr += text;
  });
  const done = new Promise<Outcome & { signal: string | null }>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, ...written }));
  });
  return { child, done };
}

export function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

/** What of a run must be the same however often it was interrupted, as text to compare. */
export function fingerprintOfRun(directory: string): Record<string, string> {
  const metrics = readFileSync(join(directory, 'metrics.jsonl'), 'utf8').replace(
    /"wall_s":[\d.]+/g,
    '"wall_s":0',
  );
  const found: Record<string, string> = { metrics };
  for (const place of ['final', 'best'].filter((name) => existsSync(join(directory, name)))) {
    for (const name of readdirSync(join(directory, place)).sort()) {
      found[`${place}/${name}`] = sha256(join(directory, place, name));
    }
  }
  // Plain SFT draws no samples.
  const samples = existsSync(join(directory, 'samples')) ? readdirSync(join(directory, 'samples')) : [];
  for (const name of samples.sort()) {
    found[`samples/${name}`] = sha256(join(directory, 'samples', name));
  }
  const checkpoints = readdirSync(join(directory, 'checkpoints')).sort();
  found.checkpoints = checkpoints.join();
  for (const step of checkpoints) {
    const weights = ['model.safetensors', 'adapter_model.safetensors'];
    for (const name of [
      ...weights.filter((name) => existsSync(join(directory, 'checkpoints', step, name))),
      'training-state/optimizer.safetensors',
      'training-state/state.json',
      'training-state/rollouts.jsonl',
    ]) {
      found[`checkpoints/${step}/${name}`] = sha256(join(directory, 'checkpoints', step, name));
    }
    const replay = join(directory, 'checkpoints', step, 'training-state/replay.json');
    if (existsSync(replay)) found[`checkpoints/${step}/replay.json`] = sha256(replay);
  }
  return found;
}
