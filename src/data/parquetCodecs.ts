import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { Compressors } from 'hyparquet';
import { snappyUncompress } from 'hyparquet/src/snappy.js';
import { decompressLz4, decompressLz4Raw, decompressZstd } from 'hyparquet-compressors';

/**
 * The compressions of Parquet pages. Each writes into exactly the bytes that the page's header announces, which were checked before:
 * a page that would be larger is an error, whatever its own header says.
 */
const decoders: Compressors = {
  SNAPPY(input, length) {
    const output = new Uint8Array(length);
    snappyUncompress(input, output);
    return output;
  },
  GZIP: (input, length) => gunzipSync(input, { maxOutputLength: Math.max(1, length) }),
  BROTLI: (input, length) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
  ZSTD: (input, length) => decompressZstd(input, new Uint8Array(length)),
  LZ4: decompressLz4,
  LZ4_RAW: decompressLz4Raw,
};

/** An empty page may be no valid stream at all. */
export const codecs = Object.fromEntries(
  Object.entries(decoders).map(([name, decode]) => [
    name,
    (input: Uint8Array, length: number): Uint8Array =>
      length === 0 ? new Uint8Array(0) : decode(input, length),
  ]),
);
