import { join } from 'node:path';
import { brief, UsageError } from '../errors.js';
import { exists, readJsonObject } from './files.js';
import { SafetensorsFile } from './safetensors.js';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** The tensors of a model directory, whether they lie in one file or in several. */
export interface Weights {
  /** The file that lists them, for error lines. */
  where: string;
  names(): Iterable<string>;
  /** As stored. @throws UsageError if there is no such tensor */
  shape(name: string): readonly number[];
  /** The file that holds it. @throws UsageError if there is no such tensor */
  file(name: string): SafetensorsFile;
  close(): Promise<void>;
}

/** Whether a model directory has weights that `openWeights` would look at, the ones it cannot read included. */
export async function hasWeights(directory: string): Promise<boolean> {
  const names = await Promise.all(
    [SINGLE, INDEX, 'pytorch_model.bin'].map((name) => exists(join(directory, name))),
  );
  return names.some(Boolean);
}

/**
 * Opens model.safetensors, or the shards that model.safetensors.index.json lists. The caller closes it.
 *
 * @throws UsageError in one line if neither exists, a shard is missing or malformed, or index and shards disagree
 */
export async function openWeights(directory: string): Promise<Weights> {
  const single = join(directory, SINGLE);
  if (await exists(single)) return openFile(single);
  const index = join(directory, INDEX);
  if (await exists(index)) return openShards(directory, index);
  const torch = (await exists(join(directory, 'pytorch_model.bin')))
    ? ' (pytorch_model.bin is not read: convert it)'
    : '';
  throw new UsageError(`${directory}: no ${SINGLE} and no ${INDEX}${torch}`);
}

/** Opens one file. The caller closes it. @throws UsageError in one line if it is missing or malformed */
export async function openFile(path: string): Promise<Weights> {
  const file = await SafetensorsFile.open(path);
  return overFiles(path, new Map([...file.entries.keys()].map((name) => [name, file])), [file]);
}

async function openShards(directory: string, index: string): Promise<Weights> {
  const shardOf = parseIndex((await readJsonObject(index)).weight_map, index);
  const files = new Map<string, SafetensorsFile>();
  try {
    for (const shard of new Set(shardOf.values())) {
      files.set(shard, await SafetensorsFile.open(join(directory, shard)));
    }
    const owners = new Map<string, SafetensorsFile>();
    for (const [name, shard] of shardOf) {
      const file = files.get(shard)!;
      if (!file.entries.has(name))
        throw new UsageError(`${file.file}: no tensor ${JSON.stringify(name)}, which ${INDEX} places there`);
      owners.set(name, file);
    }
    return overFiles(index, owners, [...files.values()]);
  } catch (error) {
    for (const file of files.values()) await file.close();
    throw error;
  }
}

/** Tensor name to shard. A shard is a file in the same directory: an index must not name any other. */
function parseIndex(map: unknown, index: string): Map<string, string> {
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new UsageError(`${index}: weight_map is missing; expected an object of tensor names and files`);
  }
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(shard)) {
      throw new UsageError(
        `${index}: weight_map places ${JSON.stringify(name.slice(0, 120))} in ${brief(shard)}; expected a .safetensors file of this directory`,
      );
    }
  }
  return new Map(Object.entries(map as Record<string, string>));
}

function overFiles(
  where: string,
  owners: ReadonlyMap<string, SafetensorsFile>,
  files: SafetensorsFile[],
): Weights {
  const owner = (name: string): SafetensorsFile => {
    const file = owners.get(name);
    if (!file) throw new UsageError(`${where}: no tensor ${JSON.stringify(name)}`);
    return file;
  };
  return {
    where,
    names: () => owners.keys(),
    shape: (name) => owner(name).entries.get(name)!.shape,
    file: owner,
    async close() {
      for (const file of files) await file.close();
    },
  };
}
