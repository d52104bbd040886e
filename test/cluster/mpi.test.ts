import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { mpiAbsent, mpirun } from '../helpers/mpi.js';
import { temporaryFolder } from '../helpers/temporary.js';

const absent = await mpiAbsent();
const reason = absent === undefined ? '' : ` [skipped: ${absent}]`;
const folder = temporaryFolder('cluster');

/** Several processes do what ranks.mjs calls a scene. */
async function play(size: number, scene: string[], env: NodeJS.ProcessEnv = {}) {
  const began = performance.now();
  const outcome = await mpirun(size, ['test/cluster/ranks.mjs', ...scene], env);
  return {
    ...outcome,
    seconds: (performance.now() - began) / 1000,
    ours: outcome.stderr.split('\n').filter((line) => line.startsWith('minillm: ')),
  };
}

// Most of their time is waiting.
describe.skipIf(absent !== undefined).concurrent(`processes under mpirun${reason}`, () => {
  it.each([2, 4])('%d ranks exchange, gather, broadcast and wait for each other', async (size) => {
    const { code, stdout, ours } = await play(size, ['talk']);
    expect(ours).toEqual([]);
    expect(JSON.parse(stdout)).toEqual({
      size,
      loaded: true,
      hosts: Array.from({ length: size }, () => hostname()),
      wrong: [],
    });
    expect(code).toBe(0);
  });

  it('one process is alone, and loads no MPI', async () => {
    const { code, stdout } = await play(1, ['talk']);
    expect(JSON.parse(stdout)).toEqual({ size: 1, loaded: false });
    expect(code).toBe(0);
  });

  it('three are refused', async () => {
    const { code, ours } = await play(3, ['talk']);
    expect([...new Set(ours)]).toEqual([
      'minillm: started as one of 3 processes by mpirun; expected a power of two (1, 2, 4, 8, …)',
    ]);
    expect(code).toBe(2);
  });

  it('without the addon the command that builds it is named', async () => {
    const { code, ours } = await play(2, ['talk'], { XDG_CACHE_HOME: join(folder, 'empty') });
    expect([...new Set(ours)]).toEqual([
      'minillm: started as one of 2 processes by mpirun, and support for MPI is not set up; run `npx minillm setup --mpi` on every machine',
    ]);
    expect(code).toBe(2);
  });

  it('waiting burns no core', async () => {
    const { stdout } = await play(2, ['idle']);
    expect((JSON.parse(stdout) as { busy: number }).busy).toBeLessThan(0.5); // of 2 s
  });

  it('a rank that does not answer is named', async () => {
    const { code, ours } = await play(2, ['silent']);
    expect(ours).toEqual([
      expect.stringMatching(
        /^minillm: rank 0 has waited 1 s \(since \d\d:\d\d:\d\d\) for rank 1 \(host .+\); is it alive\? --rank-timeout gives it longer$/,
      ),
    ]);
    expect(code).toBe(1);
  });

  it('one that is killed ends all', async () => {
    const { code, stderr, seconds } = await play(2, ['killed']);
    expect(stderr).toMatch(/rank 1 .*signal 9/);
    expect(code).toBe(128 + 9);
    expect(seconds).toBeLessThan(30);
  });

  it('an error of one ends all with its line and its code', async () => {
    const { code, ours } = await play(2, ['failing']);
    expect(ours).toEqual(['minillm: rank 1: the disk is full']);
    expect(code).toBe(3);
  });

  it('an error of all is said once', async () => {
    const { code, ours } = await play(4, ['allFailing']);
    expect(ours).toEqual(['minillm: no such file']);
    expect(code).toBe(2);
  });

  it('an error that nobody caught ends all too', async () => {
    const { code, ours } = await play(2, ['uncaught']);
    expect(ours).toEqual([
      expect.stringMatching(/^minillm: rank 1: Error: nobody caught this at .*ranks\.mjs/),
    ]);
    expect(code).toBe(1);
  });

  it('what does not fit is an error', async () => {
    const { code, ours } = await play(2, ['unequal']);
    expect(ours[0]).toMatch(/^minillm: rank \d with rank \d \(host .+\): .*truncated/i);
    expect(code).toBe(1);
  });

  it('all end together, with their exit code', async () => {
    const file = join(folder, 'saved');
    const { code } = await play(2, ['stopped', file]);
    expect(readFileSync(file, 'utf8')).toBe('saved');
    expect(code).toBe(130);
  });
});
