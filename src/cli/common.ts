import { type Command, InvalidArgumentError, Option } from 'commander';
import { modelDtypes } from '../models/dtypes.js';
import { writeAbove } from '../runs/progress.js';
import {
  type BackendInfo,
  type BackendName,
  backendNames,
  initBackend,
  type Precision,
  precisions,
} from '../tensor/backend.js';
import { isDate } from '../text/date.js';

/** The flags that every command takes (CLI contract). */
export interface CommonOptions {
  backend?: BackendName;
  threads?: number;
  precision?: Precision;
  download?: boolean;
  quiet?: boolean;
  debug?: boolean;
}

export function withCommonOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--backend <name>', 'force a backend (default: the fastest that loads)').choices(
        backendNames,
      ),
    )
    .option('--threads <n>', 'threads for tensor operations', positiveInteger)
    .addOption(
      new Option('--precision <name>', 'of matrix products on a GPU (default: tf32)').choices(precisions),
    )
    .option('--download', 'fetch a model that is named by its Hugging Face id and not in the cache')
    .option('--quiet', 'no progress and no log lines')
    .option('--debug', 'show stack traces');
}

export interface AdapterOption {
  adapter?: string;
}

/** The flag of commands whose model may have an adapter beside it. */
export function withAdapterOption(command: Command): Command {
  return command.option(
    '--adapter <dir>',
    'adapter of the model, as PEFT or a LoRA run saves it (an adapter directory may also be the model itself)',
  );
}

/** Progress, logs and notes: standard error, so that standard output carries only results. */
export function logger(options: CommonOptions): (line: string) => void {
  return options.quiet ? () => {} : (line) => writeAbove(line);
}

/** One line of result on standard output. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** The value of an option that may be given several times. */
export function repeated(value: string, before: string[]): string[] {
  return [...before, value];
}

export async function startBackend(
  options: CommonOptions & { prefer?: BackendName },
  log: (line: string) => void,
): Promise<BackendInfo> {
  const info = await initBackend(options);
  log(`backend ${info.name} (${info.reason})`);
  return info;
}

/** The configuration may fix backend, threads and precision; a flag is stronger. */
export function startConfigured(
  {
    backend,
    threads,
    precision,
    prefer,
  }: {
    backend?: BackendInfo['name'] | undefined;
    threads?: number | undefined;
    precision?: Precision | undefined;
    /** What a run began on, where it goes on. */
    prefer?: BackendName | undefined;
  },
  options: CommonOptions,
  log: (line: string) => void,
): Promise<BackendInfo> {
  return startBackend(
    {
      ...(backend && { backend }),
      ...(prefer && { prefer }),
      ...(threads && { threads }),
      ...(precision && { precision }),
      ...options,
    },
    log,
  );
}

/** A flag for how the weights of a model that does not train are kept in memory. */
export function dtypeOption(flag: '--dtype' | '--teacher-dtype', whose: string): Option {
  return new Option(`${flag} <type>`, `how ${whose} weights are kept in memory (default: float32)`).choices(
    modelDtypes,
  );
}

export function positiveInteger(text: string): number {
  return integerFrom(1, text);
}

export function nonNegativeInteger(text: string): number {
  return integerFrom(0, text);
}

function integerFrom(least: number, text: string): number {
  const n = number(text);
  if (!Number.isSafeInteger(n) || n < least) {
    throw new InvalidArgumentError(`expected a whole number of at least ${least}.`);
  }
  return n;
}

/** `Number` alone takes the empty text for 0. */
function number(text: string): number {
  return text.trim() === '' ? Number.NaN : Number(text);
}

export function numberBetween(low: number, high: number): (text: string) => number {
  return (text) => {
    const n = number(text);
    if (!(n >= low && n <= high)) throw new InvalidArgumentError(`expected a number from ${low} to ${high}.`);
    return n;
  };
}

/** A comma-separated list of whole numbers, e.g. `--seeds 10,20,30`. */
export function integerList(text: string): number[] {
  const list = text.split(',').map(number);
  if (!list.every(Number.isSafeInteger))
    throw new InvalidArgumentError('expected whole numbers separated by commas.');
  return list;
}

/** A JSON object, as variables of a chat template. */
export function jsonObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InvalidArgumentError('expected a JSON object.');
  return value as Record<string, unknown>;
}

export function day(text: string): string {
  if (!isDate(text)) throw new InvalidArgumentError('expected a date as 2026-01-31.');
  return text;
}

/** The directory of a model that is named by a directory or by its id on the Hugging Face Hub. */
export async function localModel(name: string, options: CommonOptions): Promise<string> {
  const { resolveModel } = await import('../models/hub.js');
  return resolveModel(name, { localFilesOnly: !options.download, log: logger(options) });
}
