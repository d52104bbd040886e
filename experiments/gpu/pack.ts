/**
 * Writes a folder that checks and times the CUDA engine on a machine with a card and without network, npm or a checkout:
 *
 *     npm run gpu:pack                     # runs/gpu-pack; copy it there, then: sh check.sh
 *     npm run gpu:pack -- --node           # with this Node in it, compressed
 *     npm run gpu:pack -- --cpu            # with TensorFlow's library from the cache, to time the CPU engine there too
 *
 * Options: --out DIR (runs/gpu-pack). What a pack holds, and what its check prints: README.md.
 */
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildAddon } from '../../src/tensor/engines/cuda/buildAddon.js';
import { defaultCacheDir, enginePackageNames } from '../../src/tensor/provision/paths.js';
import { run } from '../../src/tensor/provision/process.js';
import { folderBytes, LIBRARY_FOLDER, listEntries, listFiles } from '../../src/tensor/provision/store.js';
import { bundle, root } from './bundle.js';

/** Without what --node and --cpu add. */
const LIMIT = 40e6;
const PIECE = '30000000';

/** What the program reads beside itself, where it lies in a checkout. */
const FILES = [
  'package.json',
  'LICENSE',
  'THIRD_PARTY_NOTICES.md',
  'src/tensor/engines/cuda/kernels',
  'src/tensor/engines/cuda/addon',
  'src/tensor/engines/tensorflow/kernels',
  'test/fixtures/models',
  'test/fixtures/divergences',
  'test/fixtures/inspect',
  'node_modules/node-api-headers/package.json',
  'node_modules/node-api-headers/include',
  'node_modules/@tensorflow/tfjs-backend-wasm/package.json',
  'node_modules/@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.node.js',
  'node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm',
  'node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm',
];

/** Of this folder, at the root of the pack or in its place. */
const AT_ROOT = ['check.sh', 'README.md'];

export interface PackOptions {
  node?: boolean;
  cpu?: boolean;
  say?: (line: string) => void;
}

/**
 * Fills an empty or new folder.
 *
 * @throws an error in one line where something that belongs in it is missing here, or the pack is larger than 40 MB without --node and --cpu
 */
export async function pack(out: string, { node, cpu, say = () => {} }: PackOptions = {}): Promise<void> {
  if (existsSync(out) && readdirSync(out).length > 0 && !existsSync(join(out, 'minillm.mjs')))
    throw new Error(`${out} holds other files; name an empty folder with --out`);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const native = cpu
    ? enginePackageNames.find((name) => existsSync(join(root, 'node_modules', name)))
    : undefined;
  if (cpu && !native) throw new Error(`--cpu: ${enginePackageNames.join(' or ')} is not installed`);
  await bundle(join(out, 'minillm.mjs'), native);
  for (const file of FILES) copy(file, out);
  for (const file of AT_ROOT) cpSync(join(root, 'experiments/gpu', file), join(out, file));
  for (const file of readdirSync(join(root, 'experiments/gpu')).filter((name) => name.endsWith('.py')))
    copy(`experiments/gpu/${file}`, out);
  chmodSync(join(out, 'check.sh'), 0o755);
  const built = join(out, 'src/tensor/engines/cuda/built');
  mkdirSync(built);
  cpSync(await buildAddon('cuda', new Map()), join(built, 'cuda.node'));
  const bytes = folderBytes(out);
  say(`${out}: ${mb(bytes)}`);
  if (bytes > LIMIT) throw new Error(`the pack has ${mb(bytes)}, more than ${mb(LIMIT)}`);
  if (node) {
    await pieces(join(out, 'node'), 'node.xz', ['cat', process.execPath]);
    say(`node: ${mb(folderBytes(join(out, 'node')))}`);
  }
  if (native) {
    await packLibrary(out, native);
    say(`tensorflow: ${mb(folderBytes(join(out, 'tensorflow')))}`);
  }
}

/** TensorFlow's library and headers from the cache, and of the package what `setup` compiles the addon from. */
async function packLibrary(out: string, native: string): Promise<void> {
  const entry = listEntries(defaultCacheDir()).find(({ dir }) => dir.endsWith('-cpu'))?.entry;
  if (!entry || typeof entry === 'string')
    throw new Error(
      '--cpu: no library of TensorFlow for processors is in the cache; "npm run -s minillm -- setup" brings it',
    );
  for (const part of ['package.json', 'binding']) copy(join('node_modules', native, part), out);
  // As the cache holds it, so that `setup` there finds it in its cache; without addons, which are for this processor.
  const parts = ['manifest.json', LIBRARY_FOLDER].map((part) => join(basename(entry.dir), part));
  await pieces(join(out, 'tensorflow'), 'cache.tar.xz', [
    'tar',
    '-C',
    defaultCacheDir(),
    '-cf',
    '-',
    ...parts,
  ]);
}

/** The output of a command, compressed, in files of at most 30 MB. */
async function pieces(folder: string, name: string, command: string[]): Promise<void> {
  mkdirSync(folder);
  const script =
    'set -e; prefix=$1; size=$2; shift 2; "$@" | xz -T0 -6 -c | split -d -b "$size" - "$prefix."';
  const done = await run(
    'bash',
    ['-o', 'pipefail', '-c', script, 'pack', join(folder, name), PIECE, ...command],
    {
      timeoutMs: 30 * 60_000,
    },
  );
  if (done.status !== 0)
    throw new Error(`${name} could not be compressed: ${done.trouble ?? done.stderr.trim()}`);
}

function copy(path: string, out: string): void {
  const from = join(root, path);
  if (!existsSync(from)) throw new Error(`${path} is not in this checkout`);
  mkdirSync(dirname(join(out, path)), { recursive: true });
  cpSync(from, join(out, path), { recursive: true, dereference: true });
}

const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

if (process.argv[1]?.endsWith('pack.ts')) {
  const { values } = parseArgs({
    options: { out: { type: 'string' }, node: { type: 'boolean' }, cpu: { type: 'boolean' } },
  });
  const out = resolve(values.out ?? join(root, 'runs/gpu-pack'));
  try {
    await pack(out, { ...values, say: (line) => process.stdout.write(`${line}\n`) });
    const largest = listFiles(out).reduce((most, file) => Math.max(most, statSync(join(out, file)).size), 0);
    process.stdout.write(
      `${mb(folderBytes(out))} in all, the largest file ${mb(largest)}; on the other machine: sh check.sh\n`,
    );
  } catch (error) {
    process.stderr.write(`gpu:pack: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
