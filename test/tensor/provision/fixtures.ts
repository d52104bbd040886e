import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { findCompiler } from '../../../src/tensor/provision/addon.js';
import { temporaryFolder as newFolder } from '../../helpers/temporary.js';

/** Wheels, packages and a pip made on the spot: no test here needs the network or a real TensorFlow. */

export const temporaryFolder = (): string => newFolder('provision');

export interface Member {
  name: string;
  data: Buffer;
  stored?: boolean;
  /** Writes the sizes and the offset as Zip64 does for members beyond 4 GB. */
  zip64?: boolean;
}

/** A zip file, written by the book: local headers and data, central directory, (64-bit) end record. */
export function makeZip(members: Member[], options: { zip64End?: boolean; comment?: string } = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, data, stored, zip64 } of members) {
    const packed = stored ? data : deflateRawSync(data);
    const label = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(stored ? 0 : 8, 8);
    local.writeUInt32LE(crc32(data), 14);
    local.writeUInt32LE(packed.length, 18);
    local.writeUInt32LE(data.length, 22);
    local.writeUInt16LE(label.length, 26);
    local.writeUInt16LE(5, 28); // an extra field that the directory does not have
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(stored ? 0 : 8, 10);
    central.writeUInt32LE(crc32(data), 16);
    central.writeUInt32LE(zip64 ? 0xffffffff : packed.length, 20);
    central.writeUInt32LE(zip64 ? 0xffffffff : data.length, 24);
    central.writeUInt16LE(label.length, 28);
    central.writeUInt32LE(zip64 ? 0xffffffff : offset, 42);
    const extra = Buffer.alloc(zip64 ? 6 + 28 : 0);
    if (zip64) {
      extra.writeUInt16LE(0x7777, 0); // an unknown field of two bytes first
      extra.writeUInt16LE(2, 2);
      extra.writeUInt16LE(1, 6);
      extra.writeUInt16LE(24, 8);
      extra.writeBigUInt64LE(BigInt(data.length), 10);
      extra.writeBigUInt64LE(BigInt(packed.length), 18);
      extra.writeBigUInt64LE(BigInt(offset), 26);
    }
    central.writeUInt16LE(extra.length, 30);
    directory.push(central, label, extra);
    const block = Buffer.concat([local, label, Buffer.from('extra'), packed]);
    parts.push(block);
    offset += block.length;
  }
  const central = Buffer.concat(directory);
  const end: Buffer[] = [];
  if (options.zip64End) {
    const end64 = Buffer.alloc(56);
    end64.writeUInt32LE(0x06064b50, 0);
    end64.writeBigUInt64LE(BigInt(members.length), 32);
    end64.writeBigUInt64LE(BigInt(central.length), 40);
    end64.writeBigUInt64LE(BigInt(offset), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50, 0);
    locator.writeBigUInt64LE(BigInt(offset + central.length), 8);
    end.push(end64, locator);
  }
  const last = Buffer.alloc(22);
  last.writeUInt32LE(0x06054b50, 0);
  last.writeUInt16LE(options.zip64End ? 0xffff : members.length, 10);
  last.writeUInt32LE(options.zip64End ? 0xffffffff : central.length, 12);
  last.writeUInt32LE(options.zip64End ? 0xffffffff : offset, 16);
  last.writeUInt16LE(options.comment?.length ?? 0, 20);
  return Buffer.concat([...parts, central, ...end, last, Buffer.from(options.comment ?? '')]);
}

/** Python's zip reader compares it; ours does not, for a wheel has its own checksums. */
function crc32(data: Buffer): number {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** A wheel: the files, METADATA, and a RECORD of their checksums (or of `recorded`, to be wrong on purpose). */
export function makeWheel(
  path: string,
  files: Record<string, string | Buffer>,
  facts: { name: string; version: string; requires?: string[]; recorded?: Record<string, string> },
): string {
  const info = `${facts.name.replaceAll('-', '_')}-${facts.version}.dist-info`;
  const metadata = [
    'Metadata-Version: 2.1',
    `Name: ${facts.name}`,
    `Version: ${facts.version}`,
    ...(facts.requires ?? []).map((line) => `Requires-Dist: ${line}`),
    '',
    'text',
    '',
  ].join('\n');
  const all = { ...files, [`${info}/METADATA`]: metadata };
  const record = Object.entries(all).map(([name, data]) => {
    const sum = createHash('sha256')
      .update(facts.recorded?.[name] ?? data)
      .digest('base64url');
    return `${name},sha256=${sum},${data.length}\n`;
  });
  const members = Object.entries({ ...all, [`${info}/RECORD`]: `${record.join('')}${info}/RECORD,,\n` });
  writeFileSync(path, makeZip(members.map(([name, data]) => ({ name, data: Buffer.from(data) }))));
  return path;
}

export const compiler = findCompiler();

/** What the addon test double is made of: the same file names, exports and library names as the real one. */
const HEADER = '#pragma once\nextern "C" const char* TF_Version(void);\nextern "C" int TF_Framework(void);\n';
const BINDING = `#include <node_api.h>
#include "tensorflow/c/c_api.h"
int framework();
static napi_value gpu(napi_env env, napi_callback_info) { napi_value v; napi_get_boolean(env, framework() != 7, &v); return v; }
static napi_value init(napi_env env, napi_value exports) {
  napi_value version, function;
  napi_create_string_utf8(env, TF_Version(), NAPI_AUTO_LENGTH, &version);
  napi_set_named_property(env, exports, "TF_Version", version);
  napi_create_function(env, "isUsingGpuDevice", NAPI_AUTO_LENGTH, gpu, nullptr, &function);
  napi_set_named_property(env, exports, "isUsingGpuDevice", function);
  return exports;
}
NAPI_MODULE(tfjs_binding, init)
`;
const BACKEND = '#include "tensorflow/c/c_api.h"\nint framework() { return TF_Framework(); }\n';

/** Files of a wheel whose tiny libraries can really be linked and loaded. Needs the compiler. */
export function tinyTensorflow(version: string): Record<string, Buffer | string> {
  const dir = temporaryFolder();
  const library = (name: string, source: string): Buffer => {
    const out = join(dir, name);
    execFileSync(compiler!, ['-shared', '-fPIC', `-Wl,-soname,${name}`, '-o', out, '-x', 'c++', '-'], {
      input: source,
    });
    return readFileSync(out);
  };
  return {
    'tensorflow/libtensorflow_cc.so.2': library(
      'libtensorflow_cc.so.2',
      `extern "C" const char* TF_Version() { return "${version}"; }`,
    ),
    'tensorflow/libtensorflow_framework.so.2': library(
      'libtensorflow_framework.so.2',
      'extern "C" int TF_Framework() { return 7; }',
    ),
    'tensorflow/include/tensorflow/c/c_api.h': HEADER,
    'tensorflow/include/tensorflow/core/public/release_version.h': version
      .split('.')
      .map((n, i) => `#define TF_${['MAJOR', 'MINOR', 'PATCH'][i]}_VERSION ${n}\n`)
      .join(''),
    'tensorflow/include/external/unwanted.h': '// not reached by the addon',
    'tensorflow/python/unwanted.py': 'pass',
  };
}

/** A package in the form of tfjs-node-gpu, not set up; `installScript` is its own way to install. */
export function makePackage(root: string, installScript = 'process.exit(1)'): string {
  const dir = join(root, 'node_modules', '@tensorflow', 'tfjs-node-gpu');
  put(join(dir, 'package.json'), '{ "name": "@tensorflow/tfjs-node-gpu", "version": "4.22.0" }\n');
  put(join(dir, 'binding', 'tfjs_binding.cc'), BINDING);
  put(join(dir, 'binding', 'tfjs_backend.cc'), BACKEND);
  put(join(dir, 'scripts', 'install.js'), installScript);
  return dir;
}

/**
 * A folder for the front of PATH with a `python3` whose pip copies wheels from `wheels` (spec name -> file) and
 * writes each download down. Without `wheels` it has no pip.
 */
export function makePython(
  root: string,
  wheels?: Record<string, string>,
): { bin: string; downloads(): string[] } {
  const bin = join(root, 'bin');
  const log = join(root, 'pip.log');
  put(log, '');
  put(
    join(bin, 'python3'),
    `#!${process.execPath}
const fs = require('node:fs'), path = require('node:path');
const args = process.argv.slice(2);
const wheels = ${JSON.stringify(wheels ?? null)};
if (!wheels) { console.error('No module named pip'); process.exit(1); }
if (args[2] === '--version') { console.log('pip 99.0 from nowhere'); process.exit(0); }
const spec = args.at(-1), name = spec.split(/[<>=!~]/)[0];
fs.appendFileSync(${JSON.stringify(log)}, spec + '\\n');
console.error("WARNING: Retrying (Retry(total=1)) after connection broken");
if (!wheels[name]) { console.error('ERROR: No matching distribution found for ' + spec); process.exit(1); }
const into = args.find((a) => a.startsWith('--dest=')).slice(7);
fs.copyFileSync(wheels[name], path.join(into, path.basename(wheels[name])));
`,
  );
  chmodSync(join(bin, 'python3'), 0o755);
  return {
    bin,
    downloads: () =>
      readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => line !== ''),
  };
}

export function put(path: string, text: string | Buffer): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
