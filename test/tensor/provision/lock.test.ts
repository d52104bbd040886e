import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { withLock } from '../../../src/tensor/provision/lock.js';
import { temporaryFolder } from './fixtures.js';

let file: string;
beforeEach(() => {
  file = join(temporaryFolder(), 'deep', 'setup.lock');
});

function deadProcess(): number {
  return spawnSync(process.execPath, ['-e', '']).pid;
}

describe('the lock', () => {
  it('lets one in at a time and goes away', async () => {
    let inside = 0;
    let most = 0;
    const said: string[] = [];
    const work = async () => {
      most = Math.max(most, ++inside);
      await new Promise((done) => setTimeout(done, 30));
      inside--;
    };
    await Promise.all([1, 2, 3].map(() => withLock(file, (line) => said.push(line), work)));
    expect(most).toBe(1);
    expect(said).toEqual(Array(2).fill(`another set-up is at work (process ${process.pid}); waiting for it`));
    expect(existsSync(file)).toBe(false);
  });

  it('is released by a failure', async () => {
    await expect(
      withLock(
        file,
        () => {},
        async () => {
          throw new Error('inside');
        },
      ),
    ).rejects.toThrow('inside');
    expect(existsSync(file)).toBe(false);
  });

  it.each([
    ['a process that has ended', () => `${deadProcess()} ${hostname()} 1`, 0],
    ['another machine that has been silent for a minute', () => '1 elsewhere 1', 60],
  ])('is taken over from %s', async (_name, token, age) => {
    await withLock(
      file,
      () => {},
      async () => {},
    ); // makes the folder
    writeFileSync(file, token());
    const then = Date.now() / 1000 - age;
    utimesSync(file, then, then);
    const said: string[] = [];
    const holder = await withLock(
      file,
      (line) => said.push(line),
      async () => readFileSync(file, 'utf8').split(' ')[0],
    );
    expect(holder).toBe(String(process.pid));
    expect(said).toEqual([]);
  });

  it('is not taken from another machine that is at work, and waiting ends with the time given', async () => {
    await withLock(
      file,
      () => {},
      async () => {},
    );
    writeFileSync(file, '1 elsewhere 1');
    await expect(
      withLock(
        file,
        () => {},
        async () => 'in',
        AbortSignal.timeout(300),
      ),
    ).rejects.toThrow(/time ran out/);
    expect(readFileSync(file, 'utf8')).toBe('1 elsewhere 1');
  });

  it('leaves a lock alone that somebody took over meanwhile', async () => {
    await withLock(
      file,
      () => {},
      async () => writeFileSync(file, '1 elsewhere 1'),
    );
    expect(readFileSync(file, 'utf8')).toBe('1 elsewhere 1');
  });
});
