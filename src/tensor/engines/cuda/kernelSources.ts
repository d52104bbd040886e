import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folders of the kernels and of the addons' C++, beside this file (also in a build or a bundle). */
export const KERNELS = fileURLToPath(new URL('./kernels/', import.meta.url));
export const ADDON = fileURLToPath(new URL('./addon/', import.meta.url));
/** Addons that came along built, for machines without a compiler (experiments/gpu/pack.ts). */
export const BUILT = fileURLToPath(new URL('./built/', import.meta.url));

/** What a parameter of a kernel is: an address, a float, or a whole number. */
export type ParameterKind = 'address' | 'float' | 'integer';

export interface KernelSource {
  /** The .cu file that declares it. */
  file: string;
  parameters: ParameterKind[];
}

const DECLARATION =
  /extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(([^)]*)\)/g;

/** The text of every file of kernels, by name. */
export function kernelFiles(): Map<string, string> {
  const names = readdirSync(KERNELS).filter((name) => name.endsWith('.cu'));
  return new Map(names.sort().map((name) => [name, readFileSync(join(KERNELS, name), 'utf8')]));
}

/** Every kernel by name, read from its declaration. */
export function kernelSources(files: Map<string, string>): Map<string, KernelSource> {
  const all = new Map<string, KernelSource>();
  for (const [file, text] of files) {
    for (const [, name, list] of text.matchAll(DECLARATION)) {
      if (all.has(name!)) throw new Error(`${file}: a second kernel ${name}`);
      all.set(name!, { file, parameters: list!.split(',').map(kindOf) });
    }
  }
  return all;
}

function kindOf(parameter: string): ParameterKind {
  if (parameter.includes('*')) return 'address';
  return /^\s*(const\s+)?float\s/.test(parameter) ? 'float' : 'integer';
}

/** Arguments as the launcher takes them: eight bytes each, the value in the first of them. */
export function packArguments(name: string, kinds: ParameterKind[], args: readonly number[]): BigUint64Array {
  if (args.length !== kinds.length)
    throw new Error(`${name}: ${args.length} arguments given, ${kinds.length} expected`);
  const packed = new DataView(new ArrayBuffer(8 * args.length));
  args.forEach((value, i) => {
    if (kinds[i] === 'float') packed.setFloat32(8 * i, value, true);
    else if (Number.isSafeInteger(value)) {
      packed.setUint32(8 * i, value >>> 0, true);
      packed.setInt32(8 * i + 4, Math.floor(value / 2 ** 32), true);
    } else throw new Error(`${name}: argument ${i} is ${value}, a whole number expected`);
  });
  return new BigUint64Array(packed.buffer);
}
