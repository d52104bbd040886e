import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { initBackend } from '../../../src/tensor/backend.js';
import { methodNames } from '../../../src/training/config.js';
import { compiledProgram, compileProgram } from '../../../test/helpers/compiled.js';
import { worldConfig, writeConfig, writeFileWorld } from '../../../test/helpers/files.js';

const HOOK = fileURLToPath(new URL('hook.mjs', import.meta.url));

/** What hook.mjs is asked to do; `root` is added. */
export interface Fault {
  at?: number;
  how?: 'before' | 'after' | 'torn' | 'power';
  seed?: number;
  shadow?: string;
  killed?: string;
  trace?: string;
}

/** Runs of a few steps, one configuration each: every method, and those with more to remember. */
export interface RunWorld {
  path: string;
  variants: { name: string; config: string }[];
}

/** Models, data and configurations in `path`, and the program compiled. */
export async function openRunWorld(path: string): Promise<RunWorld> {
  await compileProgram();
  await initBackend({ backend: 'wasm' });
  const files = await writeFileWorld(join(path, 'world'));
  const variant = (name: string, method: string, change = {}) => ({
    name,
    config: writeConfig(join(path, 'configs', `${name}.yaml`), worldConfig(files, method, change)),
  });
  return {
    path,
    variants: [
      ...methodNames.map((method) => variant(method, method)),
      variant('minillm, value head', 'minillm', { objective: { baseline: 'value' } }),
      variant('minillm, moving average', 'minillm', { objective: { baseline: 'ema' } }),
      variant('gkd, answers of the teacher', 'gkd', { gkd: { seq_kd: true } }),
    ],
  };
}

export interface Ended {
  code: number | null;
  signal: string | null;
  stderr: string;
}

/** One `train --resume` as a process of its own, in `out`. */
export function train(
  config: string,
  out: string,
  fault?: Fault,
  begun?: (child: ChildProcess) => void,
): Promise<Ended> {
  const hook = fault ? ['--import', HOOK] : [];
  const args = ['train', config, '--out', out, '--resume', '--backend', 'wasm', '--quiet'];
  const child = spawn(process.execPath, [...hook, compiledProgram, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...(fault && { TORTURE_HOOK: JSON.stringify({ root: out, ...fault }) }) },
  });
  begun?.(child);
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stderr }));
  });
}

/** What two runs of one seed may differ in. */
const own = /^(timing\.jsonl|environment\.json|report\.html|report-files|tensorboard)$/;

/** SHA-256 of every file of a run, by its path in it; metrics without the seconds. */
export function digestsOf(run: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync(run, { recursive: true }).map(String).sort()) {
    if (own.test(name.split(/[\\/]/)[0]!)) continue;
    let bytes: Buffer | string;
    try {
      bytes = readFileSync(join(run, name));
    } catch {
      continue; // a directory
    }
    if (name === 'metrics.jsonl') bytes = bytes.toString().replace(/"wall_s":[\d.]+/g, '"wall_s":0');
    found.set(name, createHash('sha256').update(bytes).digest('hex'));
  }
  return found;
}

/** Files that differ, are missing or are left over. */
export function difference(expected: ReadonlyMap<string, string>, run: string): string[] {
  const found = digestsOf(run);
  const names = new Set([...expected.keys(), ...found.keys()]);
  return [...names].filter((name) => expected.get(name) !== found.get(name));
}

/** The file hook.mjs writes before it dies, taken away. */
export function placeOfDeath(file: string): { op: string; path: string; lost?: number } | undefined {
  if (!existsSync(file)) return undefined;
  const said = JSON.parse(readFileSync(file, 'utf8')) as { op: string; path: string; lost?: number };
  rmSync(file);
  return said;
}
