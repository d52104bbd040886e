import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { makeDirectory, writeAtomicallySync } from '../../../durable.js';
import { launchOf } from '../../../launch.js';
import { cudaCache } from '../../provision/paths.js';
import { buildAddon } from './buildAddon.js';
import type { Cards } from './cards.js';
import { type Device, type DeviceInfo, type DeviceMemory, type Product, precisions } from './device.js';
import { HalfOperands } from './halfOperands.js';
import { KERNELS, type KernelSource, kernelFiles, kernelSources, packArguments } from './kernelSources.js';
import { type ChosenLibraries, librariesToUse } from './note.js';

type Data = Float32Array | Int32Array | Uint8Array;

/** The functions that both addons have; `cards` is the card's only. */
interface Addon extends Cards {
  open(...args: (string | number)[]): Omit<DeviceInfo, 'emulated'> & { nvrtc?: number };
  compile(source: string, file: string, common: string, architecture: number): Uint8Array;
  load(cubin: Uint8Array): number;
  find(kernel: string, module: number): number;
  alloc(bytes: number): number;
  free(address: number): void;
  upload(address: number, data: Data): void;
  download(address: number, data: Data): void;
  copy(to: number, from: number, bytes: number): void;
  zero(address: number, bytes: number): void;
  launch(...args: (number | BigUint64Array)[]): void;
  matMul(...numbers: number[]): void;
  synchronise(): void;
  memory(): DeviceMemory;
  trim(): void;
}

const require = createRequire(import.meta.url);

/**
 * The processor as a device, for tests: the same kernels, a block's threads in an order drawn by `seed`.
 *
 * @throws RunError without a C++ compiler
 */
export async function openEmulator({ seed = 1 }: { seed?: number } = {}): Promise<Device> {
  const files = kernelFiles();
  const addon = require(await buildAddon('emulator', files)) as Addon;
  const info = { ...addon.open(seed), emulated: true };
  return deviceOf(addon, info, kernelSources(files), () => 0);
}

/**
 * A card. Kernels are compiled for it when they are first used, and kept in the per-user cache.
 *
 * @throws RunError without a C++ compiler; an error in one line when the driver, NVRTC or cublasLt is missing
 */
export async function openCuda({
  device,
  libraries,
}: {
  /** Default: the first; of several processes that were started on this machine together, each takes the next. */
  device?: number;
  /** Those to load; default: those that `setup --gpu` noted, else those that are found. */
  libraries?: ChosenLibraries;
} = {}): Promise<Device> {
  const files = kernelFiles();
  const addon = require(await buildAddon('cuda', new Map())) as Addon;
  const { driver, cards } = addon.cards();
  const { nvrtc, cublasLt } = libraries ?? (await librariesToUse(driver));
  const localRank = launchOf(process.env)?.localRank ?? 0;
  const info = addon.open(nvrtc, cublasLt, device ?? localRank % Math.max(1, cards.length));
  const common = readFileSync(join(KERNELS, 'common.cuh'), 'utf8');
  const modules = new Map<string, number>();
  const moduleOf = (file: string): number => {
    const known = modules.get(file);
    if (known !== undefined) return known;
    const made = addon.load(machineCode(addon, { file, text: files.get(file)!, common }, info));
    modules.set(file, made);
    return made;
  };
  return deviceOf(addon, { ...info, emulated: false }, kernelSources(files), moduleOf);
}

/** From the cache, or compiled now. */
function machineCode(
  addon: Addon,
  { file, text, common }: { file: string; text: string; common: string },
  { architecture, nvrtc = 0 }: { architecture: number; nvrtc?: number },
): Uint8Array {
  const key = createHash('sha256').update(`${architecture}/${nvrtc}\n`).update(common).update(text);
  const folder = join(cudaCache(), 'kernels');
  const path = join(folder, `${file}-${key.digest('hex').slice(0, 32)}.cubin`);
  if (existsSync(path)) return readFileSync(path);
  const cubin = addon.compile(text, file, common, architecture);
  makeDirectory(folder);
  writeAtomicallySync(path, cubin);
  return cubin;
}

function deviceOf(
  addon: Addon,
  info: DeviceInfo,
  sources: Map<string, KernelSource>,
  moduleOf: (file: string) => number,
): Device {
  const handles = new Map<string, number>();
  const handleOf = (name: string, { file }: KernelSource): number => {
    const known = handles.get(name);
    if (known !== undefined) return known;
    const found = addon.find(name, moduleOf(file));
    handles.set(name, found);
    return found;
  };
  const sized = (x: number | readonly number[]): number[] =>
    typeof x === 'number' ? [x, 1, 1] : [x[0] ?? 1, x[1] ?? 1, x[2] ?? 1];
  const device: Device = {
    info,
    precision: 'tf32',
    alloc: addon.alloc,
    free(address) {
      halves.forget(address);
      addon.free(address);
    },
    written: (address) => halves.forget(address),
    upload: addon.upload,
    download: addon.download,
    copy: addon.copy,
    zero: addon.zero,
    synchronise: addon.synchronise,
    memory: addon.memory,
    trim: addon.trim,
    launch(kernel, grid, block, args, shared = 0) {
      const source = sources.get(kernel);
      if (!source) throw new Error(`no kernel ${kernel}`);
      const packed = packArguments(kernel, source.parameters, args);
      addon.launch(handleOf(kernel, source), ...sized(grid), ...sized(block), shared, packed);
    },
    matMul(product) {
      const number = precisions.indexOf(this.precision);
      if (this.precision !== 'bfloat16') return addon.matMul(...numbersOf(product), number);
      const { rows, columns, inner, batch = 1, weights = false, bfloat16B = false } = product;
      const { strideA = rows * inner, strideB = inner * columns } = product;
      const a = halves.copy(product.a, rows * inner + (batch - 1) * strideA, false);
      const asItIs = { address: product.b, release() {} };
      const b = bfloat16B ? asItIs : halves.copy(product.b, inner * columns + (batch - 1) * strideB, weights);
      addon.matMul(...numbersOf({ ...product, a: a.address, b: b.address }), number);
      a.release();
      b.release();
    },
  };
  const halves = new HalfOperands(device);
  return device;
}

/** In the order of the addons' matMul. */
function numbersOf(p: Product): number[] {
  const { rows, columns, inner, transposeA = false, transposeB = false } = p;
  return [
    ...[
      p.a,
      p.b,
      p.y,
      rows,
      columns,
      inner,
      Number(transposeA),
      Number(transposeB),
      p.bias ?? 0,
      p.residual ?? 0,
    ],
    ...[p.batch ?? 1, p.strideA ?? rows * inner, p.strideB ?? inner * columns, p.strideY ?? rows * columns],
    ...[transposeA ? rows : inner, transposeB ? inner : columns, p.leadY ?? columns],
  ];
}
