import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { KERNELS } from '../../../src/tensor/engines/cuda/kernelSources.js';

const absent = spawnSync('nvcc', ['--version']).status === 0 ? undefined : 'nvcc is not installed';
const folder = mkdtempSync(join(tmpdir(), 'minillm-nvcc-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Kernels that keep registers in memory: `Compiling entry function 'x'`, then a line with its spills. */
function spilling(report: string): string[] {
  const entries = report.matchAll(
    /entry function '(\w+)' for[\s\S]*?(\d+) bytes spill stores, (\d+) bytes spill loads/g,
  );
  return [...entries]
    .filter(([, , stores, loads]) => stores !== '0' || loads !== '0')
    .map(([, name]) => name!);
}

describe.skipIf(absent)(`kernels by nvcc${absent ? ` [skipped: ${absent}]` : ''}`, () => {
  const files = readdirSync(KERNELS).filter((name) => name.endsWith('.cu'));
  it.each(['sm_80', 'sm_90', 'sm_120'])('compile for %s, and no kernel spills registers', (architecture) => {
    const found: string[] = [];
    for (const file of files) {
      const args = [`-arch=${architecture}`, '-cubin', '-Xptxas', '-v', '-Werror', 'all-warnings'];
      const done = spawnSync('nvcc', [...args, '-o', join(folder, 'out.cubin'), join(KERNELS, file)], {
        encoding: 'utf8',
      });
      expect(done.status, done.stderr).toBe(0);
      expect(done.stderr).toContain('bytes spill stores');
      found.push(...spilling(done.stderr));
    }
    expect(found).toEqual([]);
  });
});
