import { mkdirSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { RunError } from '../../errors.js';
import { run, which } from './process.js';
import { folderBytes } from './store.js';

// The libraries do not depend on the Python version; asking for one that every release has keeps an
// unusually old or new python3 from finding "no matching distribution".
const PYTHON_TAG = '3.11';
const MANYLINUX = ['manylinux_2_28', 'manylinux_2_27', 'manylinux_2_24', 'manylinux_2_17', 'manylinux2014'];

export interface Work {
  cacheDir: string;
  say: (line: string) => void;
  signal?: AbortSignal | undefined;
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

/**
 * Fetches a wheel, so that the user's index, mirror, proxy and certificates apply; pip compares its digest with the index's.
 *
 * @returns the path of the wheel @throws RunError with pip's own reason in one line
 */
export async function pipDownload(python: string, spec: string, into: string, work: Work): Promise<string> {
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
