import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** SHA-256 of everything in a model directory that its distributions depend on: the shape and the weights. */
export async function modelDigest(directory: string): Promise<string> {
  return filesDigest(directory, (name) => name === 'config.json' || name.endsWith('.safetensors'));
}

/** SHA-256 of those files of a directory, in the order of their names. */
export async function filesDigest(directory: string, wanted: (name: string) => boolean): Promise<string> {
  const names = (await readdir(directory)).filter(wanted);
  const hash = createHash('sha256');
  for (const name of names.sort()) {
    hash.update(`${name}\0`);
    for await (const part of createReadStream(join(directory, name), { highWaterMark: 1 << 20 })) {
      hash.update(part as Buffer);
    }
  }
  return hash.digest('hex');
}
