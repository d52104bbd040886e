import { type FileHandle, open } from 'node:fs/promises';
import { UsageError } from '../errors.js';
import { describeIo, writeAtomically } from './files.js';
import { fromBf16, fromF16, toBf16, toF16 } from './halfFloats.js';
import { MAX_HEADER_BYTES, parseHeader, type TensorEntry } from './safetensorsHeader.js';

export type { TensorEntry } from './safetensorsHeader.js';

/** How weights may be stored. In memory they are always 32-bit floats. */
export const weightDtypes = ['f32', 'f16', 'bf16'] as const;
export type WeightDtype = (typeof weightDtypes)[number];

/** A tensor on the host, row-major. */
export interface NamedArray {
  name: string;
  shape: readonly number[];
  data: Float32Array;
}

/** Bytes moved by one system call; larger tensors take several. */
const CHUNK = 1 << 26;

/**
 * An open safetensors file (format: https://github.com/huggingface/safetensors, "Format"). The header is checked
 * whole when the file is opened, so that no later read can leave the file; tensors are read one by one.
 */
export class SafetensorsFile {
  private constructor(
    readonly file: string,
    readonly entries: ReadonlyMap<string, TensorEntry>,
    private readonly handle: FileHandle,
  ) {}

  /** @throws UsageError in one line, naming the file and the tensor, if the file is missing, truncated or malformed */
  static async open(file: string): Promise<SafetensorsFile> {
    const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(`${file}: ${describeIo(error)}`);
    });
    try {
      const info = await handle.stat();
      if (!info.isFile()) throw new UsageError(`${file}: not a regular file`);
      if (info.size < 8) throw new UsageError(`${file}: truncated safetensors file (${info.size} bytes)`);
      const prefix = new Uint8Array(8);
      await readFully(handle, prefix, 0, file);
      const length = new DataView(prefix.buffer).getBigUint64(0, true);
      if (length > BigInt(MAX_HEADER_BYTES)) {
        throw new UsageError(
          `${file}: header of ${length} bytes, at most ${MAX_HEADER_BYTES} allowed; not a safetensors file?`,
        );
      }
      const size = Number(length);
      if (8 + size > info.size) {
        throw new UsageError(
          `${file}: truncated, the header needs ${size} bytes and the file has ${info.size - 8} after its length`,
        );
      }
      const header = new Uint8Array(size);
      await readFully(handle, header, 8, file);
      return new SafetensorsFile(file, parseHeader(header, 8 + size, info.size, file), handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /**
   * Reads one tensor as 32-bit floats.
   *
   * @throws UsageError if there is no such tensor, it holds no floating-point weights, or the file has shrunk
   */
  async read(name: string): Promise<NamedArray> {
    const entry = this.entries.get(name);
    if (!entry) throw new UsageError(`${this.file}: no tensor ${JSON.stringify(name)}`);
    const bytes = new Uint8Array(entry.bytes);
    const decode = decoders[entry.dtype];
    if (!decode) {
      throw new UsageError(
        `${this.file}: tensor ${JSON.stringify(name)} is ${entry.dtype}, expected F32, F16 or BF16`,
      );
    }
    await readFully(this.handle, bytes, entry.offset, this.file);
    return { name, shape: entry.shape, data: decode(bytes.buffer) };
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

// The format is little-endian, and so is every machine that Node and TensorFlow.js run on.
const decoders: Record<string, (buffer: ArrayBuffer) => Float32Array> = {
  F32: (buffer) => new Float32Array(buffer),
  F16: (buffer) => fromF16(new Uint16Array(buffer)),
  BF16: (buffer) => fromBf16(new Uint16Array(buffer)),
};

const encoders: Record<
  WeightDtype,
  { name: string; bytes: number; encode: (data: Float32Array) => ArrayBufferView }
> = {
  f32: { name: 'F32', bytes: 4, encode: (data) => data },
  f16: { name: 'F16', bytes: 2, encode: toF16 },
  bf16: { name: 'BF16', bytes: 2, encode: toBf16 },
};

/**
 * Writes a safetensors file, atomically. The bytes depend on the tensors only, not on their order: names are sorted
 * by code unit, the header is padded with spaces to a multiple of 8 and names its format "pt", which
 * `transformers` asks for. Values are rounded to nearest, ties to even.
 *
 * @throws UsageError if a name occurs twice, a shape does not fit its data, or a finite value has no finite f16
 */
export async function writeSafetensors(
  file: string,
  tensors: readonly NamedArray[],
  dtype: WeightDtype = 'f32',
): Promise<void> {
  const { name: dtypeName, bytes, encode } = encoders[dtype];
  const sorted = [...tensors].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  // A list of pairs, written out by hand: an object would put integer-like names first.
  const pairs = ['"__metadata__":{"format":"pt"}'];
  let offset = 0;
  sorted.forEach(({ name, shape, data }, i) => {
    if (name === sorted[i - 1]?.name)
      throw new UsageError(`${file}: tensor ${JSON.stringify(name)} given twice`);
    if (shape.reduce((product, size) => product * size, 1) !== data.length) {
      throw new UsageError(
        `${file}: tensor ${JSON.stringify(name)} of shape [${shape.join(', ')}] has ${data.length} values`,
      );
    }
    const end = offset + data.length * bytes;
    pairs.push(
      `${JSON.stringify(name)}:${JSON.stringify({ dtype: dtypeName, shape, data_offsets: [offset, end] })}`,
    );
    offset = end;
    if (dtype === 'f16') checkF16Range(file, name, data);
  });
  const json = Buffer.from(`{${pairs.join(',')}}`, 'utf8');
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);
  await writeAtomically(file, async (handle) => {
    await writeFully(handle, header);
    for (const { data } of sorted) await writeFully(handle, encode(data));
  });
}

function checkF16Range(file: string, name: string, data: Float32Array): void {
  const beyond = data.find((x) => Math.abs(x) >= 65520 && Number.isFinite(x));
  if (beyond !== undefined) {
    throw new UsageError(
      `${file}: tensor ${JSON.stringify(name)} holds ${beyond}, beyond the range of f16; save as f32 or bf16`,
    );
  }
}

async function readFully(
  handle: FileHandle,
  into: Uint8Array,
  position: number,
  file: string,
): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await handle.read(into, done, Math.min(CHUNK, into.length - done), position + done);
    if (bytesRead === 0) throw new UsageError(`${file}: ended early, at byte ${position + done}`);
    done += bytesRead;
  }
}

async function writeFully(handle: FileHandle, view: ArrayBufferView): Promise<void> {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, Math.min(CHUNK, bytes.length - done))).bytesWritten;
  }
}
