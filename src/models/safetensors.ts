import { type FileHandle, open } from 'node:fs/promises';
import { UsageError } from '../errors.js';
import { fromBf16, fromF16 } from '../tensor/halfFloats.js';
import { describeIo, lfsPointer } from './files.js';
import { MAX_HEADER_BYTES, parseHeader, type TensorEntry } from './safetensorsHeader.js';

export type { TensorEntry } from './safetensorsHeader.js';

/** A tensor on the host, row-major. */
export interface NamedArray {
  name: string;
  shape: readonly number[];
  data: Float32Array;
}

/** Bytes moved by one system call; larger tensors take several. */
const CHUNK = 1 << 26;
/** Bytes of a file held while they become floats. */
const STAGE = 1 << 20;

/**
 * An open safetensors file (format: https://github.com/huggingface/safetensors, "Format"). The header is checked
 * whole when the file is opened, so that no later read can leave the file; tensors are read one by one.
 */
export class SafetensorsFile {
  private readonly stage = new Uint8Array(STAGE);
  private block = new Float32Array(0);

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
      if (new TextDecoder().decode(prefix) === 'version ' && info.size < 1024) {
        const text = new Uint8Array(info.size);
        await readFully(handle, text, 0, file);
        const pointer = lfsPointer(new TextDecoder().decode(text), file);
        if (pointer) throw new UsageError(pointer);
      }
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
    const { shape } = this.entry(name);
    const data = new Float32Array(sizeOf(shape));
    await this.readRows(name, 0, data);
    return { name, shape, data };
  }

  /**
   * Reads some rows of a tensor, seen as a matrix [first size, product of the others], as many as fit into `into`. Beside
   * `into` a few megabytes are held, whatever the size of the tensor. @throws UsageError as `read`
   */
  async readRows(name: string, first: number, into: Float32Array<ArrayBuffer>): Promise<void> {
    const { offset, dtype, shape } = this.entry(name);
    const { bytes, decode } = decoders[dtype]!;
    const begin = offset + first * columnsOf(shape) * bytes;
    for (let done = 0; done < into.length; ) {
      const count = Math.min(into.length - done, STAGE / bytes);
      await readFully(this.handle, this.stage.subarray(0, count * bytes), begin + done * bytes, this.file);
      decode(this.stage.buffer, into.subarray(done, done + count));
      done += count;
    }
  }

  /**
   * Reads some rows of the transpose of a matrix [rows, columns], as many as fit into `into`: columns of the file. The whole
   * tensor passes by. @throws UsageError as `read`
   */
  async readColumns(name: string, first: number, into: Float32Array<ArrayBuffer>): Promise<void> {
    const { shape } = this.entry(name);
    const columns = columnsOf(shape);
    const rows = shape[0]!;
    const block = Math.max(1, Math.floor(STAGE / 4 / columns));
    const size = Math.min(block, rows) * columns;
    if (this.block.length < size) this.block = new Float32Array(size);
    const some = this.block;
    for (let row = 0; row < rows; row += block) {
      const count = Math.min(block, rows - row);
      await this.readRows(name, row, some.subarray(0, count * columns));
      transposeInto(into, some, { rows, columns, row, count, first });
    }
  }

  private entry(name: string): TensorEntry {
    const entry = this.entries.get(name);
    if (!entry) throw new UsageError(`${this.file}: no tensor ${JSON.stringify(name)}`);
    if (!Object.hasOwn(decoders, entry.dtype)) {
      throw new UsageError(
        `${this.file}: tensor ${JSON.stringify(name)} is ${entry.dtype}, expected F32, F16 or BF16`,
      );
    }
    return entry;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

// The format is little-endian, and so is every machine that Node and TensorFlow.js run on.
const decoders: Record<
  string,
  { bytes: number; decode: (from: ArrayBuffer, into: Float32Array<ArrayBuffer>) => void }
> = {
  F32: { bytes: 4, decode: (from, into) => into.set(new Float32Array(from, 0, into.length)) },
  F16: { bytes: 2, decode: (from, into) => void fromF16(new Uint16Array(from, 0, into.length), into) },
  BF16: { bytes: 2, decode: (from, into) => void fromBf16(new Uint16Array(from, 0, into.length), into) },
};

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
const columnsOf = (shape: readonly number[]): number => sizeOf(shape.slice(1));

/** Columns `first`… of `count` rows that begin at `row`, into the rows of the transpose. */
function transposeInto(
  into: Float32Array,
  some: Float32Array,
  at: { rows: number; columns: number; row: number; count: number; first: number },
): void {
  const { rows, columns, row, count, first } = at;
  const wanted = into.length / rows;
  // In strips of a few rows, whose columns then still lie in the cache.
  for (let r0 = 0; r0 < count; r0 += 16) {
    const r1 = Math.min(count, r0 + 16);
    for (let c = 0; c < wanted; c++) {
      for (let r = r0; r < r1; r++) into[c * rows + row + r] = some[r * columns + first + c]!;
    }
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
