import type { FileHandle } from 'node:fs/promises';
import { writeAtomically } from '../durable.js';
import { UsageError } from '../errors.js';
import { toBf16, toF16 } from '../tensor/halfFloats.js';

/** How weights may be stored. In memory they are always 32-bit floats. */
export const weightDtypes = ['f32', 'f16', 'bf16'] as const;
export type WeightDtype = (typeof weightDtypes)[number];

/** A tensor to write: its values, or how to get them when their turn comes. */
export interface TensorSource {
  name: string;
  shape: readonly number[];
  /** Whole numbers are stored as what they are. */
  data: Float32Array | Int32Array | Uint16Array | Uint8Array | (() => Promise<Float32Array>);
  /** Of floats; default: that of the file. */
  dtype?: WeightDtype;
}

/** Bytes written by one system call; larger tensors take several. */
const CHUNK = 1 << 26;

interface Encoder {
  name: string;
  bytes: number;
  encode: (data: Float32Array) => ArrayBufferView;
}

const encoders: Record<WeightDtype, Encoder> = {
  f32: { name: 'F32', bytes: 4, encode: (data) => data },
  f16: { name: 'F16', bytes: 2, encode: toF16 },
  bf16: { name: 'BF16', bytes: 2, encode: toBf16 },
};

function storedAs({ data, dtype }: TensorSource, usual: WeightDtype): { name: string; bytes: number } {
  if (data instanceof Int32Array) return { name: 'I32', bytes: 4 };
  if (data instanceof Uint16Array) return { name: 'U16', bytes: 2 };
  if (data instanceof Uint8Array) return { name: 'U8', bytes: 1 };
  return encoders[dtype ?? usual];
}

/**
 * Writes a safetensors file, atomically. The bytes depend on the tensors only, not on their order: names are sorted
 * by code unit, the header is padded with spaces to a multiple of 8 and names its format "pt", which
 * `transformers` asks for. Values are rounded to nearest, ties to even. Of the values that come by function one tensor
 * at a time is held.
 *
 * @throws UsageError if a name occurs twice, a shape does not fit its data, or a finite value has no finite f16
 */
export async function writeSafetensors(
  file: string,
  tensors: readonly TensorSource[],
  dtype: WeightDtype = 'f32',
): Promise<void> {
  const sorted = [...tensors].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const header = headerOf(file, sorted, dtype);
  await writeAtomically(file, async (handle) => {
    await writeFully(handle, header);
    for (const { name, shape, data, dtype: own = dtype } of sorted) {
      const values = typeof data === 'function' ? await data() : data;
      if (sizeOf(shape) !== values.length) {
        throw new UsageError(
          `${file}: tensor ${JSON.stringify(name)} of shape [${shape.join(', ')}] has ${values.length} values`,
        );
      }
      const floats = values instanceof Float32Array;
      if (floats && own === 'f16') checkF16Range(file, name, values);
      await writeFully(handle, floats ? encoders[own].encode(values) : values);
    }
  });
}

function headerOf(file: string, sorted: readonly TensorSource[], dtype: WeightDtype): Buffer {
  // A list of pairs, written out by hand: an object would put integer-like names first.
  const pairs = ['"__metadata__":{"format":"pt"}'];
  let offset = 0;
  sorted.forEach((source, i) => {
    const { name, shape } = source;
    const { name: dtypeName, bytes } = storedAs(source, dtype);
    if (name === sorted[i - 1]?.name)
      throw new UsageError(`${file}: tensor ${JSON.stringify(name)} given twice`);
    const end = offset + sizeOf(shape) * bytes;
    pairs.push(
      `${JSON.stringify(name)}:${JSON.stringify({ dtype: dtypeName, shape, data_offsets: [offset, end] })}`,
    );
    offset = end;
  });
  const json = Buffer.from(`{${pairs.join(',')}}`, 'utf8');
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);
  return header;
}

function checkF16Range(file: string, name: string, data: Float32Array): void {
  const beyond = data.find((x) => Math.abs(x) >= 65520 && Number.isFinite(x));
  if (beyond !== undefined) {
    throw new UsageError(
      `${file}: tensor ${JSON.stringify(name)} holds ${beyond}, beyond the range of f16; save as f32 or bf16`,
    );
  }
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

async function writeFully(handle: FileHandle, view: ArrayBufferView): Promise<void> {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, Math.min(CHUNK, bytes.length - done))).bytesWritten;
  }
}
