import { join } from 'node:path';
import { UsageError } from '../../errors.js';
import { extractMember, openZip, readMember, type ZipFile } from './zip.js';

/** Extracts the wanted members and checks each against the wheel's own RECORD. Returns sha256 by path. */
export async function unpackWanted(
  wheel: string,
  wanted: RegExp[],
  out: string,
): Promise<Record<string, string>> {
  const zip = await openZip(wheel);
  const record = parseRecord(await readMember(zip, distInfo(zip, 'RECORD')));
  const done: Record<string, string> = {};
  for (const member of zip.members.values()) {
    const { name } = member;
    if (name.endsWith('/') || !wanted.some((pattern) => pattern.test(name))) continue;
    if (name.split('/').includes('..') || name.includes('\\'))
      throw new UsageError(`${wheel}: unsafe member name ${JSON.stringify(name)}`);
    const sha256 = await extractMember(zip, member, join(out, name));
    if (record.get(name) !== sha256) {
      throw new UsageError(
        `${wheel}: ${name} does not have the checksum that the wheel's RECORD states; remove the file and fetch it again`,
      );
    }
    done[name] = sha256;
  }
  return done;
}

/** What the wheel says that it is. */
export async function readMetadata(wheel: string) {
  const zip = await openZip(wheel);
  const text = await readMember(zip, distInfo(zip, 'METADATA'));
  const header = text.split(/\r?\n\r?\n/)[0]!.split(/\r?\n/);
  const fields = (key: string) =>
    header.filter((line) => line.startsWith(`${key}: `)).map((line) => line.slice(key.length + 2).trim());
  const [name, version] = [fields('Name')[0], fields('Version')[0]];
  if (!name || !version) throw new UsageError(`${wheel}: its METADATA names no package and version`);
  return { name: name.toLowerCase(), version, requires: fields('Requires-Dist') };
}

function distInfo(zip: ZipFile, file: string) {
  for (const member of zip.members.values()) {
    if (new RegExp(`^[^/]+\\.dist-info/${file}$`).test(member.name)) return member;
  }
  throw new UsageError(`${zip.path}: not a Python wheel (no .dist-info/${file})`);
}

/** RECORD lines: `path,sha256=<urlsafe base64 without padding>,size`; the paths wanted here hold no comma. */
function parseRecord(text: string): Map<string, string> {
  const sums = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^([^",]+),sha256=([\w-]+),/.exec(line);
    if (match) sums.set(match[1]!, Buffer.from(match[2]!, 'base64url').toString('hex'));
  }
  return sums;
}
