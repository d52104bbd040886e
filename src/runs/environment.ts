import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { cpus, totalmem } from 'node:os';
import * as tf from '@tensorflow/tfjs-core';
import { type BackendInfo, type BackendName, backendNames } from '../tensor/backend.js';
import { runPaths } from './runDirectory.js';

const require = createRequire(import.meta.url);

/** What ran here: versions, machine, backend, threads, code. Written once per run as environment.json. */
export function describeEnvironment(backend: BackendInfo, seed: number): Record<string, unknown> {
  const own = require('../../package.json') as { name: string; version: string };
  return {
    package: `${own.name} ${own.version}`,
    git_commit: gitCommit(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 2 ** 30),
    tfjs: tf.version_core,
    backend: backend.name,
    backend_reason: backend.reason,
    engine: backend.engine,
    threads: backend.threads,
    seed,
  };
}

/** environment.json of a run directory; undefined where there is none yet. */
export async function readEnvironment(out: string): Promise<Record<string, unknown> | undefined> {
  return readFile(runPaths(out).environment, 'utf8')
    .then((text) => JSON.parse(text) as Record<string, unknown>)
    .catch(() => undefined);
}

/** The backend that a run has computed on, for it to go on with. */
export async function backendBefore(out: string): Promise<BackendName | undefined> {
  const before = await readEnvironment(out);
  return backendNames.find((name) => name === before?.backend);
}

/** A resumed run repeats the uninterrupted one to the bit only where the same arithmetic goes on. */
export function sayWhatDiffers(
  before: Record<string, unknown>,
  now: Record<string, unknown>,
  log: (line: string) => void,
): void {
  for (const name of ['engine', 'threads', 'package', 'git_commit']) {
    if (before[name] !== now[name]) {
      log(`note: ${name} was ${before[name]} and is ${now[name]}: the run goes on, perhaps not bit for bit`);
    }
  }
}

function gitCommit(): string | null {
  try {
    const run = (...args: string[]): string =>
      execFileSync('git', args, {
        cwd: new URL('.', import.meta.url),
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim();
    return (
      run('rev-parse', 'HEAD') +
      (run('status', '--porcelain', '--untracked-files=no') === '' ? '' : ' (modified)')
    );
  } catch {
    return null;
  }
}
