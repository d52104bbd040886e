import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { removeLeftovers, writeDirectoryAtomic, writeFileAtomic } from '../../src/runs/atomic.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const place = temporaryDirectory('atomic');
afterAll(place.remove);

describe('files and directories that appear whole', () => {
  it('a file is replaced, its directories made, nothing left beside it', async () => {
    const file = join(place.path, 'a', 'b', 'file.txt');
    await writeFileAtomic(file, 'one');
    await writeFileAtomic(file, 'two');
    expect(readFileSync(file, 'utf8')).toBe('two');
    expect(readdirSync(join(file, '..'))).toEqual(['file.txt']);
  });

  it('a directory is replaced as a whole', async () => {
    const path = join(place.path, 'dirs', 'best');
    await writeDirectoryAtomic(path, (at) => writeFile(join(at, 'old'), '1'));
    await writeDirectoryAtomic(path, async (at) => {
      expect(readdirSync(path), 'the old one stays until the new one is whole').toEqual(['old']);
      await writeFile(join(at, 'new'), '2');
    });
    expect(readdirSync(path)).toEqual(['new']);
    expect(readdirSync(join(path, '..'))).toEqual(['best']);
  });

  it('one that cannot be filled leaves everything as it was', async () => {
    const path = join(place.path, 'failing', 'best');
    await writeDirectoryAtomic(path, (at) => writeFile(join(at, 'old'), '1'));
    const failing = writeDirectoryAtomic(path, async (at) => {
      await writeFile(join(at, 'half'), '2');
      throw new Error('disk full');
    });
    await expect(failing).rejects.toThrow('disk full');
    expect(readdirSync(path)).toEqual(['old']);
    expect(readdirSync(join(path, '..'))).toEqual(['best']);
  });

  it('one moved aside for another that never came has its name back', async () => {
    const at = join(place.path, 'between');
    mkdirSync(join(at, '.tmp-7-best-old'), { recursive: true });
    writeFileSync(join(at, '.tmp-7-best-old', 'weights'), 'old');
    mkdirSync(join(at, '.tmp-7-best'));
    mkdirSync(join(at, 'final'));
    mkdirSync(join(at, '.tmp-7-final-old'));
    await removeLeftovers(at);
    expect(readdirSync(at).sort()).toEqual(['best', 'final']);
    expect(readFileSync(join(at, 'best', 'weights'), 'utf8')).toBe('old');
  });

  it('leftovers of killed processes go, everything else stays', async () => {
    const at = join(place.path, 'leftovers');
    for (const name of ['.tmp-12-best', '.tmp-12-best-old', 'best', 'tmp'])
      mkdirSync(join(at, name), { recursive: true });
    for (const name of ['metrics.jsonl.tmp', 'a.json.tmp-34', 'a.json', 'tmp-1.txt'])
      writeFileSync(join(at, name), '');
    await removeLeftovers(at);
    expect(readdirSync(at).sort()).toEqual(['a.json', 'best', 'tmp', 'tmp-1.txt']);
    await removeLeftovers(join(place.path, 'absent'));
    expect(existsSync(join(place.path, 'absent'))).toBe(false);
  });
});
