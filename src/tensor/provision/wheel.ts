import { chmodSync, mkdirSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { RunError, UsageError } from '../../errors.js';
import { run, which } from './process.js';
import {
  type CacheEntry,
  folderBytes,
  LIBRARY_FOLDER,
  publish,
  stagingFolder,
  type Variant,
} from './store.js';
import { extractMember, openZip, readMember, type ZipFile } from './zip.js';

/**
 * TensorFlow's C library out of the Python wheel: the wheel holds the same libtensorflow that the C API
 * headers beside it describe, does not need Python to run, and is current where the npm package's own
 * download stopped at 2.9.1. pip fetches it, so that the user's index, mirror and proxy settings apply.
 */
const WHEEL_SERIES = '2.21.*';

/** Whether a cached version is of the series that would be downloaded today. */
export function isCurrentSeries(version: string): boolean {
  return version.startsWith(WHEEL_SERIES.replace('*', ''));
}

// The C library does not depend on the Python version; asking for one that every release has keeps an
// unusually old or new python3 from finding "no matching distribution".
const PYTHON_TAG = '3.11';
const MANYLINUX = ['manylinux_2_28', 'manylinux_2_27', 'manylinux_2_24', 'manylinux_2_17', 'manylinux2014'];

/** Of 13000 files in the wheel the addon's sources reach these. */
const WANTED = [
  /^tensorflow\/libtensorflow_(cc|framework)\.so\.2$/,
  /^tensorflow\/include\/(tensorflow\/c|tensorflow\/core\/(platform|public)|tsl|xla\/tsl\/c)\/.*\.(h|inc)$/,
];
/** Of an NVIDIA wheel: the libraries and tools, not the headers. */
const WANTED_NVIDIA = [/^nvidia\/(?!.*\/include\/).+(?<!\.py|\.a)$/];

interface Work {
  cacheDir: string;
  say: (line: string) => void;
  signal?: AbortSignal | undefined;
}

/** Downloads the wheel (and, for a GPU, the CUDA wheels it asks for) with pip and publishes the library in the cache. */
export async function provisionFromPip(variant: Variant, work: Work): Promise<CacheEntry> {
  const python = await findPip();
  const staging = stagingFolder(work.cacheDir);
  const downloads = join(staging, 'downloads');
  // On 64-bit Arm the GPU build does not exist and the plain wheel is the CPU one.
  const names =
    variant === 'gpu'
      ? ['tensorflow']
      : process.arch === 'arm64'
        ? ['tensorflow-cpu', 'tensorflow']
        : ['tensorflow-cpu'];
  let wheel: string | undefined;
  let failure: unknown;
  for (const name of names) {
    try {
      wheel = await pipDownload(python, `${name}==${WHEEL_SERIES}`, downloads, work);
      break;
    } catch (error) {
      failure = error;
    }
  }
  if (wheel === undefined) throw failure;
  return unpack(wheel, { variant, source: 'wheel', python }, join(staging, 'out'), work);
}

/** Publishes the library of a wheel file that the user has. */
export async function provisionFromWheelFile(
  wheel: string,
  variant: Variant,
  work: Work,
): Promise<CacheEntry> {
  const python = variant === 'gpu' ? await findPip() : undefined;
  return unpack(wheel, { variant, source: 'path', python }, join(stagingFolder(work.cacheDir), 'out'), work);
}

async function unpack(
  wheel: string,
  how: { variant: Variant; source: 'wheel' | 'path'; python: string | undefined },
  out: string,
  work: Work,
): Promise<CacheEntry> {
  const { name, version, requires } = await readMetadata(await openZip(wheel), wheel);
  if (!/^tensorflow([-_](cpu|aarch64|cpu[-_]aws))?$/.test(name)) {
    throw new UsageError(`${wheel}: is a wheel of ${name}; expected one of tensorflow or tensorflow-cpu`);
  }
  if (how.variant === 'gpu' && name !== 'tensorflow') {
    throw new UsageError(`${wheel}: is the CPU build; --gpu wants a wheel of tensorflow`);
  }
  work.say(`unpacking ${basename(wheel)}`);
  const known = await unpackWanted(wheel, WANTED, out);
  for (const library of ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']) {
    if (!known[`${LIBRARY_FOLDER}/${library}`])
      throw new UsageError(
        `${wheel}: holds no tensorflow/${library}; expected a Linux wheel of TensorFlow 2`,
      );
  }
  if (how.variant === 'gpu') {
    if (how.python === undefined) throw new RunError('the CUDA libraries need pip');
    const cuda = requires.filter(
      (line) => /^nvidia-/.test(line) && /extra\s*==\s*['"]and-cuda['"]/.test(line),
    );
    for (const line of cuda) {
      // "nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == 'and-cuda'"
      const spec = line.split(';')[0]!.replace(/[\s()]/g, '');
      const file = await pipDownload(how.python, spec, join(dirname(out), 'downloads'), work, dirname(wheel));
      Object.assign(known, await unpackWanted(file, WANTED_NVIDIA, out));
    }
  }
  return publish(work.cacheDir, out, { version, variant: how.variant, source: how.source }, known);
}

/** Extracts the wanted members and checks each against the wheel's own RECORD. Returns sha256 by path. */
async function unpackWanted(wheel: string, wanted: RegExp[], out: string): Promise<Record<string, string>> {
  const zip = await openZip(wheel);
  const record = parseRecord(await readMember(zip, distInfo(zip, 'RECORD')));
  const done: Record<string, string> = {};
  for (const member of zip.members.values()) {
    const { name } = member;
    if (name.endsWith('/') || !wanted.some((pattern) => pattern.test(name))) continue;
    if (name.split('/').includes('..') || name.includes('\\'))
      throw new UsageError(`${wheel}: unsafe member name ${JSON.stringify(name)}`);
    const sha256 = await extractMember(zip, member, join(out, name));
    if (record.get(name) !== sha256) {
      throw new UsageError(
        `${wheel}: ${name} does not have the checksum that the wheel's RECORD states; remove the file and fetch it again`,
      );
    }
    if (/\/bin\//.test(name)) chmodSync(join(out, name), 0o755); // ptxas and friends, which TensorFlow starts
    done[name] = sha256;
  }
  return done;
}

async function readMetadata(zip: ZipFile, wheel: string) {
  const text = await readMember(zip, distInfo(zip, 'METADATA'));
  const header = text.split(/\r?\n\r?\n/)[0]!.split(/\r?\n/);
  const fields = (key: string) =>
    header.filter((line) => line.startsWith(`${key}: `)).map((line) => line.slice(key.length + 2).trim());
  const [name, version] = [fields('Name')[0], fields('Version')[0]];
  if (!name || !version) throw new UsageError(`${wheel}: its METADATA names no package and version`);
  return { name: name.toLowerCase(), version, requires: fields('Requires-Dist') };
}

function distInfo(zip: ZipFile, file: string) {
  for (const member of zip.members.values()) {
    if (new RegExp(`^[^/]+\\.dist-info/${file}$`).test(member.name)) return member;
  }
  throw new UsageError(`${zip.path}: not a Python wheel (no .dist-info/${file})`);
}

/** RECORD lines: `path,sha256=<urlsafe base64 without padding>,size`; the paths wanted here hold no comma. */
function parseRecord(text: string): Map<string, string> {
  const sums = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^([^",]+),sha256=([\w-]+),/.exec(line);
    if (match) sums.set(match[1]!, Buffer.from(match[2]!, 'base64url').toString('hex'));
  }
  return sums;
}

/** The Python that has pip. @throws RunError that says which of the two is missing and how to get it. */
export async function findPip(): Promise<string> {
  const pythons = ['python3', 'python'].flatMap((name) => which(name) ?? []);
  if (pythons.length === 0)
    throw new RunError(
      'python3 is missing (Debian/Ubuntu: apt-get install python3-pip; Fedora: dnf install python3-pip)',
    );
  for (const python of pythons) {
    const { status } = await run(python, ['-m', 'pip', '--version'], { timeoutMs: 30_000 });
    if (status === 0) return python;
  }
  throw new RunError(
    `pip is missing (${pythons[0]} -m ensurepip, or Debian/Ubuntu: apt-get install python3-pip)`,
  );
}

async function pipDownload(
  python: string,
  spec: string,
  into: string,
  work: Work,
  findLinks?: string,
): Promise<string> {
  mkdirSync(join(into, 'tmp'), { recursive: true });
  const before = new Set(readdirSync(into));
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const args = [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--only-binary=:all:',
    '--progress-bar=off',
    '--retries=2',
    '--disable-pip-version-check',
  ];
  args.push(
    `--python-version=${PYTHON_TAG}`,
    '--implementation=cp',
    `--abi=cp${PYTHON_TAG.replace('.', '')}`,
  );
  args.push(...MANYLINUX.map((tag) => `--platform=${tag}_${machine}`), `--dest=${into}`);
  if (findLinks) args.push(`--find-links=${findLinks}`);
  work.say(`downloading ${spec} with pip`);
  const report = progressReporter(into, work.say);
  // pip writes the growing file below its TMPDIR, which is what makes progress visible from here.
  const env = { ...process.env, TMPDIR: join(into, 'tmp'), PYTHONUNBUFFERED: '1' };
  const done = await run(python, [...args, spec], {
    env,
    stallMs: 150_000,
    progress: report.bytes,
    signal: work.signal,
  });
  report.end();
  const wheel = readdirSync(into).find((file) => file.endsWith('.whl') && !before.has(file));
  if (done.status === 0 && wheel) return join(into, wheel);
  // pip's warnings (an index that does not answer, a newer pip) are no failure; its ERROR lines are.
  const errors = `${done.stderr}\n${done.stdout}`.split('\n').filter((line) => /^ERROR:/.test(line));
  const why =
    done.trouble ?? errors.at(-1)?.replace(/^ERROR:\s*/, '') ?? `pip ended with status ${done.status}`;
  throw new RunError(
    `pip could not fetch ${spec}: ${why.slice(0, 200)} (is the package index reachable? try: ${basename(python)} -m pip download --no-deps '${spec}')`,
  );
}

/** Says every five seconds how much has arrived and how fast. */
function progressReporter(folder: string, say: (line: string) => void) {
  const started = Date.now();
  let saidAt = started;
  let saidBytes = 0;
  return {
    bytes(): number {
      const bytes = folderBytes(folder);
      const seconds = (Date.now() - saidAt) / 1000;
      if (seconds >= 5 && bytes > saidBytes) {
        say(`  ${(bytes / 1e6).toFixed(0)} MB, ${((bytes - saidBytes) / 1e6 / seconds).toFixed(1)} MB/s`);
        saidAt = Date.now();
        saidBytes = bytes;
      }
      return bytes;
    },
    end(): void {
      const bytes = folderBytes(folder);
      const seconds = (Date.now() - started) / 1000;
      if (bytes > 0) say(`  ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(1)} s`);
    },
  };
}
