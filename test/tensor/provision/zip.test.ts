import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../../src/errors.js';
import { extractMember, openZip, readMember } from '../../../src/tensor/provision/zip.js';
import { makeZip, temporaryFolder } from './fixtures.js';

const dir = temporaryFolder();
let count = 0;
function file(bytes: Buffer): string {
  const path = join(dir, `${count++}.zip`);
  writeFileSync(path, bytes);
  return path;
}

function patched(zip: Buffer, patch: (zip: Buffer) => void): Buffer {
  patch(zip);
  return zip;
}

/** Compressible, and longer than one chunk of the reader. */
const long = Buffer.from(Array.from({ length: 2_500_000 }, (_, i) => (i * i) >> 8));
const members = [
  { name: 'stored.txt', data: Buffer.from('as it is'), stored: true },
  { name: 'a/deflated.bin', data: long },
  { name: 'empty', data: Buffer.alloc(0), stored: true },
  { name: 'wide', data: Buffer.from('beyond four gigabytes, in principle'), zip64: true },
];

const whole = makeZip(members);

describe('zip', () => {
  it.each([
    ['plain', {}],
    ['with a 64-bit end record', { zip64End: true }],
    ['with a comment', { comment: 'PK is not the end' }],
  ])('reads every member, %s', async (_name, options) => {
    const zip = await openZip(file(makeZip(members, options)));
    expect([...zip.members.keys()]).toEqual(['stored.txt', 'a/deflated.bin', 'empty', 'wide']);
    for (const { name, data } of members) {
      const target = join(dir, 'out', name);
      expect(await extractMember(zip, zip.members.get(name)!, target)).toBe(
        createHash('sha256').update(data).digest('hex'),
      );
      expect(readFileSync(target).equals(data)).toBe(true);
    }
    expect(await readMember(zip, zip.members.get('stored.txt')!)).toBe('as it is');
  });

  it.each<[string, (zip: Buffer) => Buffer]>([
    ['cut short', (zip) => zip.subarray(0, zip.length - 30)],
    ['something else', () => Buffer.from('<html>404</html>')],
    ['empty', () => Buffer.alloc(0)],
    [
      'a directory outside the file',
      (zip) => patched(zip, (z) => z.writeUInt32LE(z.length + 5, z.length - 6)),
    ],
    [
      'more entries than the directory holds',
      (zip) => patched(zip, (z) => z.writeUInt16LE(9, z.length - 12)),
    ],
  ])('refuses a file that is %s', async (_name, spoil) => {
    const path = file(spoil(Buffer.from(whole)));
    const error = await openZip(path).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(UsageError);
    expect((error as Error).message).toContain(path);
  });

  it('refuses a missing file', async () => {
    await expect(openZip(join(dir, 'none.zip'))).rejects.toThrow(/none\.zip: cannot be read \(ENOENT\)/);
  });

  it.each([
    ['declares more than it holds', { size: 9 }],
    ['declares less than it holds', { size: 7 }],
    ['is packed in an unknown way', { method: 12 }],
    ['reaches beyond the end', { compressedSize: 1e9 }],
    ['has no header where it should be', { headerOffset: 3 }],
    ['lies outside', { headerOffset: 1e12 }],
  ])('refuses a member that %s', async (_name, change) => {
    const zip = await openZip(file(whole));
    const member = { ...zip.members.get('stored.txt')!, ...change };
    await expect(extractMember(zip, member, join(dir, 'never'))).rejects.toThrow(UsageError);
    await expect(readMember(zip, member)).rejects.toThrow(UsageError);
  });

  it('refuses damaged deflate data', async () => {
    const bytes = makeZip([{ name: 'x', data: long }]);
    bytes.fill(0xff, 1000, 1400);
    const zip = await openZip(file(bytes));
    await expect(extractMember(zip, zip.members.get('x')!, join(dir, 'never'))).rejects.toThrow(
      /not a usable zip/,
    );
  });
});
