import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { publish, syncFile } from '../../../durable.js';
import { RunError } from '../../../errors.js';
import { compilerProblem, findCompiler } from '../../provision/addon.js';
import { cudaCache, defaultCacheDir, nodeApiHeaders } from '../../provision/paths.js';
import { run } from '../../provision/process.js';
import { stagingFolder } from '../../provision/store.js';
import { ADDON, BUILT, KERNELS } from './kernelSources.js';

const FLAGS = ['-std=c++17', '-O2', '-fPIC', '-shared', '-pthread'];

/**
 * An addon compiled by the C++ compiler that is there, kept in the per-user cache under a key of everything that went in.
 *
 * @param name `cuda` or `emulator`: addon/<name>.cc @param kernels files of kernels to compile in, for the emulator
 * @returns the path of the addon @throws RunError if it cannot be compiled
 */
export async function buildAddon(name: 'cuda' | 'emulator', kernels: Map<string, string>): Promise<string> {
  const brought = join(BUILT, `${name}.node`);
  if (existsSync(brought)) return brought;
  const target = addonPath(name, kernels);
  if (existsSync(target)) return target;
  const problem = compilerProblem();
  if (problem) throw new RunError(problem);
  const compiler = findCompiler()!;
  const staging = stagingFolder(defaultCacheDir());
  try {
    const built = join(staging, `${name}.node`);
    const includes = [ADDON, KERNELS, nodeApiHeaders()!.include].map((dir) => `-I${dir}`);
    const sources = [
      join(ADDON, `${name}.cc`),
      ...[...kernels].map(([file, text]) => wrapped(staging, file, text)),
    ];
    const macro = kernels.size > 0 ? ['-DMINILLM_EMULATED'] : [];
    const { status, stderr } = await run(compiler, [
      ...FLAGS,
      ...macro,
      ...includes,
      ...sources,
      '-o',
      built,
      '-ldl',
    ]);
    if (status !== 0)
      throw new RunError(
        `${name}.cc does not compile with ${compiler}: ${stderr.split('\n').find((line) => line.includes('error')) ?? stderr.slice(0, 300)}`,
      );
    mkdirSync(dirname(target), { recursive: true });
    // Under its name only when whole; a process beside this one has built the same.
    syncFile(built);
    publish(built, target);
    return target;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** Where the addon lies once it is compiled. */
export function addonPath(name: 'cuda' | 'emulator', kernels: Map<string, string> = new Map()): string {
  const hash = createHash('sha256').update(
    `${name}\n${process.arch}\n${process.versions.modules}\n${FLAGS}\n`,
  );
  for (const file of readdirSync(ADDON).sort()) hash.update(file).update(readFileSync(join(ADDON, file)));
  if (kernels.size > 0) hash.update(readFileSync(join(KERNELS, 'common.cuh')));
  for (const [file, text] of kernels) hash.update(file).update(text);
  return join(cudaCache(), 'addons', hash.digest('hex').slice(0, 32), `${name}.node`);
}

/** A C++ file that includes a file of kernels and registers each by name. */
function wrapped(folder: string, file: string, text: string): string {
  const names = [
    ...text.matchAll(/extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)/g),
  ];
  const lines = names.map(
    ([, name]) => `  emulator::add("${name}", [](void** a) { emulator::call(${name}, a); });`,
  );
  const path = join(folder, `${file}.cc`);
  const source = `#include "emulator.h"\n#include "${join(KERNELS, file)}"\nstatic const int registered = [] {\n${lines.join('\n')}\n  return 0;\n}();\n`;
  writeFileSync(path, source);
  return path;
}
