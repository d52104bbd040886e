import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type * as Fs from 'node:fs';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { claim } from '../../src/runs/claim.js';
import { identityOf, whereabouts } from '../../src/runs/processIdentity.js';
import { temporaryFolder } from '../helpers/temporary.js';

const links = vi.hoisted(() => ({ there: true }));
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof Fs>();
  const linkSync: typeof fs.linkSync = (from, to) => {
    if (!links.there) throw Object.assign(new Error('no links here'), { code: 'EPERM' });
    fs.linkSync(from, to);
  };
  return { ...fs, linkSync };
});

/** Number and identity of a process that has ended, and is not there any more. */
async function dead(): Promise<{ pid: number; identity: string }> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await once(child, 'spawn');
  const identity = identityOf(child.pid!);
  child.kill('SIGKILL');
  await once(child, 'exit');
  return { pid: child.pid!, identity };
}

const change = (identity: string, fields: object): string =>
  JSON.stringify({ ...(JSON.parse(identity) as object), ...fields });
const linux = existsSync('/proc/self/stat');
const own = identityOf(process.pid);

describe('whether the process that a file names is there', () => {
  it('itself, one that has ended, one on another machine', async () => {
    expect(whereabouts(own)).toMatchObject({ pid: process.pid, now: 'running' });
    expect(whereabouts((await dead()).identity).now).toBe('ended');
    expect(whereabouts(change(own, { host: `not-${hostname()}` })).now).toBe('elsewhere');
  });

  it.skipIf(!linux)('a number that another process has now, or had before the machine began anew', () => {
    expect(whereabouts(change(own, { started: '1' })).now).toBe('ended');
    expect(whereabouts(change(own, { boot: 'before' })).now).toBe('ended');
  });

  it.skipIf(!linux)('one that has ended and whose parent has not asked yet', async () => {
    // The shell becomes `sleep`, which never asks for its child.
    const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 30'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [line] = (await once(parent.stdout!, 'data')) as [Buffer];
    const pid = Number(line.toString());
    await vi.waitFor(() => expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toContain(') Z '));
    expect(whereabouts(String(pid)).now).toBe('ended');
    parent.kill('SIGKILL');
  });

  it.each(['', '\0\0\0\0', '{"pid":', 'null', '[]', '-1', '1e99', '{"pid":"1"}', own.slice(0, 9)])(
    'a text that names none: %j',
    (text) => expect(whereabouts(text).now).toBe('ended'),
  );

  it('a bare number, as it was written before: of another process, or our own by chance', () => {
    expect(whereabouts(String(process.ppid)).now).toBe('running');
    expect(whereabouts(String(process.pid)).now).toBe('ended');
  });
});

describe('one process in one place', () => {
  const place = temporaryFolder('claim');
  let count = 0;
  const fresh = (): string => join(place, `.run-${count++}.pid`);
  const winners = async (file: string, tries: number): Promise<number> => {
    const all = await Promise.allSettled(
      Array.from({ length: tries }, () => claim(file, 'x', 'trains there')),
    );
    return all.filter(({ status }) => status === 'fulfilled').length;
  };

  it('the second is refused in one line; after the first there is room again', async () => {
    const file = fresh();
    const release = await claim(file, 'runs/x', 'trains there');
    await expect(claim(file, 'runs/x', 'trains there')).rejects.toThrow(
      `runs/x: process ${process.pid} trains there; wait for it, or delete ${file} if that process is something else`,
    );
    await release();
    expect(existsSync(file)).toBe(false);
    await (await claim(file, 'runs/x', 'trains there'))();
  });

  it('one on another machine is not passed over, and the line says why', async () => {
    const file = fresh();
    writeFileSync(file, change(own, { host: 'node7' }));
    await expect(claim(file, 'runs/x', 'trains there')).rejects.toThrow(
      `runs/x: process ${process.pid} on node7 trains there, or did; it cannot be seen from here: when it has ended, delete ${file}`,
    );
  });

  it.each<[string, () => Promise<string>]>([
    ['of a dead process', async () => (await dead()).identity],
    ['of a dead process, a bare number', async () => String((await dead()).pid)],
    ['empty', async () => ''],
    ['cut off', async () => own.slice(0, 20)],
  ])('a lock %s is passed over, by one of many', async (_, text) => {
    const file = fresh();
    writeFileSync(file, await text());
    expect(await winners(file, 20)).toBe(1);
    expect(readFileSync(file, 'utf8')).toBe(own);
  });

  it('one of many that begin together gets it; with links and without', async () => {
    for (links.there of [true, false]) expect(await winners(fresh(), 20)).toBe(1);
    links.there = true;
  });

  it('what a killed one left while it asked: its turn, its attempts', async () => {
    const file = fresh();
    const { pid, identity } = await dead();
    for (const name of ['', '.next', `.${pid}-0`, `.next.${pid}-1`]) writeFileSync(file + name, identity);
    writeFileSync(`${file}.${process.ppid}-77`, ''); // of one that is asking at this moment
    await claim(file, 'x', 'trains there');
    expect(readdirSync(place).filter((name) => join(place, name).startsWith(file))).toEqual([
      file.slice(place.length + 1),
      `${file.slice(place.length + 1)}.${process.ppid}-77`,
    ]);
  });

  it('gives back only what is its own', async () => {
    const file = fresh();
    const release = await claim(file, 'x', 'trains there');
    writeFileSync(file, change(own, { host: 'node7' }));
    await release();
    expect(existsSync(file)).toBe(true);
  });

  it('a place that cannot be written is said in one line', async () => {
    await expect(claim(join(place, 'absent', '.x.pid'), 'x', 'trains there')).rejects.toThrow(
      /\.x\.pid: cannot be written \(ENOENT\); give a place in a writable directory$/,
    );
  });
});
