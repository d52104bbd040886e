import type { Rng } from '../../../src/random/streams.js';

/**
 * An addressed stream as `stream` of the library is one, several times quicker to begin: there are a million of them. sfc32 (Doty-Humphrey,
 * PractRand), from a hash of the address (FNV-1a). Good enough to choose what is damaged; no statistics rest on it.
 */
export function quickStream(...address: readonly (string | number)[]): Rng {
  let hash = 0x811c9dc5;
  for (const c of address.join('\0')) hash = Math.imul(hash ^ c.charCodeAt(0), 0x01000193);
  let [a, b, c, d] = [hash | 0, Math.imul(hash, 0x9e3779b1) | 0, ~hash, 1];
  const next = (): number => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    c |= 0;
    return (t >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 12; i++) next();
  return next;
}
