import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { pack } from '../../experiments/gpu/pack.js';
import { compilerProblem } from '../../src/tensor/provision/addon.js';
import { defaultCacheDir } from '../../src/tensor/provision/paths.js';
import { folderBytes } from '../../src/tensor/provision/store.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const absent = compilerProblem();
const place = temporaryDirectory('gpu-pack');
afterAll(place.remove);

describe.skipIf(absent)(`gpu:pack${absent ? ` [skipped: ${absent}]` : ''}`, () => {
  it('writes a folder whose check runs by itself, and says so where the engine does not open', async () => {
    const out = join(place.path, 'pack');
    await pack(out);
    expect(folderBytes(out)).toBeLessThan(40e6);
    expect(existsSync(join(out, 'src/tensor/engines/cuda/built/cuda.node'))).toBe(true);
    expect(readdirSync(join(out, 'node_modules/@tensorflow'))).toEqual(['tfjs-backend-wasm']);

    const check = (): { status: number | null; table: string } => {
      const args = ['check.sh', '--emulator', '--only', 'kernels,suites', '--minutes', '4'];
      // The cache is the user's: the emulator takes half a minute to compile.
      const env = { ...process.env, XDG_CACHE_HOME: dirname(defaultCacheDir()) };
      const { status, stdout, stderr } = spawnSync('sh', args, { cwd: out, env, encoding: 'utf8' });
      return { status, table: `${stdout}${stderr}` };
    };
    const whole = check();
    expect(whole.table).toMatch(/\| kernels \| adamW \| ok \| float32 \S+e-\d/);
    expect(whole.table).toMatch(/\| suites \| MiniLLM loss against the oracle \| ok \| 15 passed, 0 failed/);
    expect(whole.table).toContain(' 0 failed');
    expect(whole.status).toBe(0);
    expect(readFileSync(join(out, 'results.md'), 'utf8')).toContain('| kernels | sample | ok |');

    rmSync(join(out, 'src/tensor/engines/cuda/kernels'), { recursive: true });
    const broken = check();
    expect(broken.table).toMatch(/\| engine \| runs to its end \| FAILED \| .*kernels/);
    expect(broken.table).toContain('| kernels | all | skipped | the engine does not open |');
    expect(broken.status).toBe(1);
  });
});
