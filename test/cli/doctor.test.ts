import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { doctorCommand, describe as render } from '../../src/cli/commands/doctor.js';
import type { MpiInspection } from '../../src/cluster/inspectMpi.js';
import { UsageError } from '../../src/errors.js';
import { type Diagnosis, diagnose } from '../../src/tensor/provision/diagnose.js';
import { temporaryFolder } from '../helpers/temporary.js';

const installed = vi.hoisted(() => ({ packages: [] as { name: string; dir: string }[] }));
vi.mock('../../src/tensor/provision/paths.js', async (original) => ({
  ...(await original<object>()),
  installedEnginePackages: () => installed.packages,
}));

const cacheDir = join(temporaryFolder('doctor'), 'cache');

const healthy: Diagnosis & { mpi: MpiInspection } = {
  backend: {
    name: 'tensorflow',
    reason: 'the fastest',
    failures: [],
    engine: 'TensorFlow 2.21.0 (@tensorflow/tfjs-node-gpu)',
    threads: 2,
    gpu: false,
    startup_ms: 700,
  },
  versions: { 'minillm-rl': '0.1.0', node: 'v20.0.0', tfjs: '4.22.0', tensorflow: '2.21.0' },
  cpu: { model: 'A processor', cores: 4, threads: 2 },
  gpu: { used: false, how: 'nvidia-smi is not there', devices: [] },
  cuda: {
    state: 'no card here',
    driver: null,
    cards: [],
    free_mb: null,
    libraries: { nvrtc: null, cublasLt: null },
    addon: null,
  },
  mpi: {
    state: 'ready, built for Open MPI 4.1.4',
    library: 'Open MPI 4.1.4',
    addon: '/c/mpi.node',
    mpicxx: null,
  },
  memory: { total_mb: 8000, free_mb: 5000, process_mb: 200 },
  engine: { package: 'tfjs-node-gpu in /p', state: 'ready', detail: 'TensorFlow 2.21.0 (cpu) from /c/lib' },
  cache: { dir: '/c', libraries: [{ dir: '/c/lib', state: 'whole (from wheel)', mb: 850 }] },
  tools: { python: 'Python 3.11.7', pip: 'pip 23.2.1', compiler: null },
  problems: [],
};

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

describe('the report', () => {
  it('is aligned and complete', () => {
    expect(render(healthy)).toEqual([
      'backend    tensorflow: TensorFlow 2.21.0 (@tensorflow/tfjs-node-gpu)',
      'why        the fastest',
      'start-up   700 ms',
      'versions   minillm-rl 0.1.0, node v20.0.0, tfjs 4.22.0, TensorFlow 2.21.0',
      'processor  A processor',
      'threads    2 of 4 cores',
      'GPU        not used (nvidia-smi is not there)',
      'CUDA       no card here',
      'MPI        ready, built for Open MPI 4.1.4',
      'memory     5000 MB available of 8000 MB, this process 200 MB',
      'engine     ready: TensorFlow 2.21.0 (cpu) from /c/lib',
      '           tfjs-node-gpu in /p',
      'cache      /c',
      '           lib: whole (from wheel), 850 MB',
      'python     Python 3.11.7',
      'pip        pip 23.2.1',
      'compiler   missing',
      'Nothing is missing.',
    ]);
  });

  it('ends with what is broken and the command that mends it', () => {
    const lines = render({
      ...healthy,
      backend: null,
      problems: [{ what: 'no engine', mend: 'minillm setup' }],
    });
    expect(lines[0]).toBe('backend    none loads');
    expect(lines.slice(-3)).toEqual([
      'Missing or broken, and what mends it:',
      '  no engine',
      '    minillm setup',
    ]);
  });
});

describe('doctor', () => {
  it('names everything that is missing on a bare machine', async () => {
    vi.stubEnv('PATH', join(cacheDir, 'nothing'));
    vi.stubEnv('CXX', '');
    const found = await diagnose({ cacheDir });
    expect(found.backend).toMatchObject({ name: 'wasm', gpu: false });
    expect(found.backend!.failures[0]!.name).toBe('tensorflow');
    expect(found.versions).toMatchObject({
      node: process.version,
      tensorflow: null,
      'minillm-rl': expect.stringMatching(/^\d+\.\d+\.\d+/),
    });
    expect(found.tools).toEqual({ python: null, pip: null, compiler: null });
    expect(found.gpu).toEqual({
      used: false,
      how: 'nvidia-smi is not there',
      devices: [],
    });
    expect(found.cache).toEqual({ dir: cacheDir, libraries: [] });
    expect(found.engine).toEqual({
      package: null,
      state: 'absent',
      detail: 'no native package is installed',
    });
    expect(found.problems.map(({ what }) => what)).toEqual([
      'native engine absent: no native package is installed',
      'python3 is missing (fetches the wheel)',
      'no C++ compiler (builds the addon)',
    ]);
    expect(found.problems.map(({ mend }) => mend)).toEqual([
      'npm install --ignore-scripts @tensorflow/tfjs-node-gpu',
      'apt-get install python3-pip',
      'apt-get install g++',
    ]);
    expect(found.memory.total_mb).toBeGreaterThanOrEqual(found.memory.free_mb);
  });

  it('with --json prints one JSON value and nothing else', async () => {
    const out: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out.push(String(text));
      return true;
    });
    await doctorCommand().parseAsync(['--json', '--backend', 'wasm'], { from: 'user' });
    vi.restoreAllMocks();
    expect(out).toHaveLength(1);
    expect((JSON.parse(out[0]!) as Diagnosis).backend).toMatchObject({ name: 'wasm', reason: 'asked for' });
  });

  it('reports a forced backend that does not load, and then fails', async () => {
    const out: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out.push(String(text));
      return true;
    });
    const error = await doctorCommand()
      .parseAsync(['--json', '--backend', 'tensorflow'], { from: 'user' })
      .catch((e: unknown) => e);
    vi.restoreAllMocks();
    expect(error).toBeInstanceOf(UsageError);
    expect((JSON.parse(out.join('')) as Diagnosis).backend).toBeNull();
  });
});
