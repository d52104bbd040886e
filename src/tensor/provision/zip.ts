import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, mkdirSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { UsageError } from '../../errors.js';

/**
 * A reader of zip files (a Python wheel is one), as much as wheels need: stored and deflated members, Zip64.
 * Members are streamed: the largest of interest has 788 MB. Layout: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 and
 * 4.5.3. The file is not trusted: every offset and length is checked against the file, and every member must
 * have exactly the length that it declares.
 */
export interface ZipFile {
  path: string;
  bytes: number;
  members: ReadonlyMap<string, ZipMember>;
}

export interface ZipMember {
  name: string;
  method: number;
  compressedSize: number;
  size: number;
  headerOffset: number;
}

const END = 0x06054b50;
const END64_LOCATOR = 0x07064b50;
const END64 = 0x06064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const CHUNK = 2 ** 20;
const LARGEST_DIRECTORY = 2 ** 28;

/** Reads the directory of an archive. @throws UsageError when the file is missing or is not a whole zip file. */
export async function openZip(path: string): Promise<ZipFile> {
  const handle = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${path}: cannot be read (${error.code ?? error.message})`);
  });
  try {
    const { size: bytes } = await handle.stat();
    return { path, bytes, members: await readDirectory(handle, bytes, path) };
  } finally {
    await handle.close();
  }
}

/** Writes one member to a file (folders are made) and returns its sha256 in hexadecimal. */
export async function extractMember(zip: ZipFile, member: ZipMember, target: string): Promise<string> {
  mkdirSync(dirname(target), { recursive: true });
  const hash = createHash('sha256');
  const source = await memberStream(zip, member);
  await pipeline(
    source,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    },
    createWriteStream(target, { highWaterMark: CHUNK }),
  ).catch((error: Error) => {
    throw error instanceof UsageError ? error : broken(zip.path, `${member.name}: ${error.message}`);
  });
  return hash.digest('hex');
}

/** One small text member. */
export async function readMember(zip: ZipFile, member: ZipMember): Promise<string> {
  if (member.size > LARGEST_DIRECTORY) throw broken(zip.path, `${member.name} is too large to be text`);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of await memberStream(zip, member)) chunks.push(chunk as Buffer);
  } catch (error) {
    throw error instanceof UsageError
      ? error
      : broken(zip.path, `${member.name}: ${(error as Error).message}`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The unpacked bytes of a member; the stream fails unless there are exactly as many as declared. */
async function memberStream(zip: ZipFile, member: ZipMember): Promise<Readable> {
  if (member.method !== 0 && member.method !== 8) {
    throw broken(zip.path, `${member.name} is packed by method ${member.method}, known are 0 and 8`);
  }
  const start = await dataOffset(zip, member);
  const end = start + member.compressedSize - 1;
  const packed =
    end < start ? Readable.from([]) : createReadStream(zip.path, { start, end, highWaterMark: CHUNK });
  const unpacked = member.method === 0 ? packed : packed.pipe(createInflateRaw({ chunkSize: CHUNK }));
  if (unpacked !== packed) packed.on('error', (error: Error) => unpacked.destroy(error));
  return Readable.from(
    (async function* () {
      let seen = 0;
      for await (const chunk of unpacked as AsyncIterable<Buffer>) {
        seen += chunk.length;
        if (seen > member.size) break;
        yield chunk;
      }
      if (seen !== member.size) {
        throw broken(zip.path, `${member.name} has not the ${member.size} bytes that the directory declares`);
      }
    })(),
  );
}

/** Where a member's bytes begin: the local header's name and extra field may differ in length from the directory's. */
async function dataOffset(zip: ZipFile, member: ZipMember): Promise<number> {
  const handle = await open(zip.path, 'r');
  try {
    const header = await readAt(handle, member.headerOffset, 30, zip.bytes, zip.path);
    if (header.readUInt32LE(0) !== LOCAL) throw broken(zip.path, `no local header for ${member.name}`);
    const start = member.headerOffset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
    if (start + member.compressedSize > zip.bytes)
      throw broken(zip.path, `${member.name} reaches beyond the end`);
    return start;
  } finally {
    await handle.close();
  }
}

async function readDirectory(
  handle: FileHandle,
  bytes: number,
  path: string,
): Promise<Map<string, ZipMember>> {
  const { offset, size, count } = await locateDirectory(handle, bytes, path);
  if (size > LARGEST_DIRECTORY) throw broken(path, `its directory of ${size} bytes is too large`);
  const directory = await readAt(handle, offset, size, bytes, path);
  const members = new Map<string, ZipMember>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > size || directory.readUInt32LE(at) !== CENTRAL)
      throw broken(path, `directory entry ${i} is damaged`);
    const nameLength = directory.readUInt16LE(at + 28);
    const extraLength = directory.readUInt16LE(at + 30);
    const next = at + 46 + nameLength + extraLength + directory.readUInt16LE(at + 32);
    if (next > size) throw broken(path, `directory entry ${i} is damaged`);
    const name = directory.toString('utf8', at + 46, at + 46 + nameLength);
    const member: ZipMember = {
      name,
      method: directory.readUInt16LE(at + 10),
      compressedSize: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      headerOffset: directory.readUInt32LE(at + 42),
    };
    widen(member, directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength), path);
    members.set(name, member);
    at = next;
  }
  return members;
}

/** Zip64: a 32-bit field of all ones stands for a 64-bit one in extra field 1, in this order (APPNOTE 4.5.3). */
function widen(member: ZipMember, extra: Buffer, path: string): void {
  const wide = (['size', 'compressedSize', 'headerOffset'] as const).filter(
    (field) => member[field] === 0xffffffff,
  );
  if (wide.length === 0) return;
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === 1 && length >= wide.length * 8 && at + 4 + length <= extra.length) {
      wide.forEach((field, i) => {
        member[field] = Number(extra.readBigUInt64LE(at + 4 + 8 * i));
      });
      return;
    }
    at += 4 + length;
  }
  throw broken(path, `${member.name} lacks its 64-bit sizes`);
}

async function locateDirectory(handle: FileHandle, bytes: number, path: string) {
  // The end record is the last thing in the file, before a comment of at most 65535 bytes.
  const tailStart = Math.max(0, bytes - 22 - 65535);
  const tail = await readAt(handle, tailStart, bytes - tailStart, bytes, path);
  let at = tail.length - 22;
  while (at >= 0 && tail.readUInt32LE(at) !== END) at--;
  if (at < 0) throw broken(path, 'no end record (a download cut short?)');
  const found = {
    count: tail.readUInt16LE(at + 10),
    size: tail.readUInt32LE(at + 12),
    offset: tail.readUInt32LE(at + 16),
  };
  if (at >= 20 && tail.readUInt32LE(at - 20) === END64_LOCATOR) {
    const end64 = await readAt(handle, Number(tail.readBigUInt64LE(at - 12)), 56, bytes, path);
    if (end64.readUInt32LE(0) !== END64) throw broken(path, 'its 64-bit end record is damaged');
    found.count = Number(end64.readBigUInt64LE(32));
    found.size = Number(end64.readBigUInt64LE(40));
    found.offset = Number(end64.readBigUInt64LE(48));
  }
  return found;
}

async function readAt(
  handle: FileHandle,
  offset: number,
  length: number,
  bytes: number,
  path: string,
): Promise<Buffer> {
  if (!(offset >= 0 && length >= 0 && offset + length <= bytes))
    throw broken(path, 'an offset points outside the file');
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, offset);
  if (bytesRead !== length) throw broken(path, 'it ends too early');
  return buffer;
}

function broken(path: string, why: string): UsageError {
  return new UsageError(`${path}: not a usable zip file: ${why}; remove it and fetch it again`);
}
