/**
 * Writes a LLaMA of random weights in bfloat16, a shard a layer, without ever holding more than one tensor: for loading and serving a model
 * of a size that is not at hand. The default is the shape of LLaMA 7B (Touvron et al., arXiv 2302.13971), 13.5 GB.
 *
 *     node --import tsx experiments/bench/randomLlama.ts /tmp/llama-7b
 *     node --import tsx experiments/bench/randomLlama.ts /tmp/small --layers 2 --width 64 --heads 4 --inner 128 --vocabulary 100
 *
 * There is no tokenizer: prompts are given as ids. Weights are normal with standard deviation 0.02, drawn once for a million of them and
 * used again and again.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { makeDirectory } from '../../src/durable.js';
import { familyOf, llamaConfig } from '../../src/models/families.js';
import { type TensorSource, writeSafetensors } from '../../src/models/safetensorsWriter.js';
import { normal, stream } from '../../src/random/streams.js';

export interface LlamaShape {
  layers: number;
  width: number;
  heads: number;
  inner: number;
  vocabulary: number;
  /** End token; default 2. */
  eosId?: number;
}

/** A prime, so that no two rows of a matrix begin alike. */
const DRAWN = 1_000_003;

/** @returns bytes of the tensors */
export async function writeRandomLlama(
  directory: string,
  { layers, width, heads, inner, vocabulary, eosId = 2 }: LlamaShape,
  log: (line: string) => void = () => {},
): Promise<number> {
  makeDirectory(directory);
  const config = llamaConfig({
    ...{ vocabSize: vocabulary, hiddenSize: width, layers, heads, intermediateSize: inner },
    ...{ maxPositions: 2048, tiedHead: false, eosId },
  });
  const rng = stream(1, 'random llama');
  const drawn = Float32Array.from({ length: DRAWN }, () => 0.02 * normal(rng));
  let at = 0;
  const fill = (size: number): Float32Array => {
    const values = new Float32Array(size);
    for (let done = 0; done < size; ) {
      const part = drawn.subarray(at, at + Math.min(DRAWN - at, size - done));
      values.set(part, done);
      done += part.length;
      at = (at + part.length) % DRAWN;
    }
    return values;
  };
  const specs = Object.entries(familyOf(config).parameters(config));
  const shardOf = (name: string): number => Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? layers);
  const fileOf = (shard: number): string =>
    `model-${String(shard + 1).padStart(5, '0')}-of-${String(layers + 1).padStart(5, '0')}.safetensors`;
  let bytes = 0;
  for (let shard = 0; shard <= layers; shard++) {
    const tensors = specs
      .filter(([name]) => shardOf(name) === shard)
      .map(([name, { shape, transposed, init }]): TensorSource => {
        const size = shape.reduce((product, n) => product * n, 1);
        bytes += 2 * size;
        const data = async () => (init === 'ones' ? new Float32Array(size).fill(1) : fill(size));
        return { name, shape: transposed ? [...shape].reverse() : shape, data };
      });
    await writeSafetensors(join(directory, fileOf(shard)), tensors, 'bf16');
    log(`${shard + 1} of ${layers + 1} shards, ${(bytes / 1e9).toFixed(1)} GB`);
  }
  const index = {
    metadata: { total_size: bytes },
    weight_map: Object.fromEntries(specs.map(([name]) => [name, fileOf(shardOf(name))])),
  };
  writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify(index, null, 2));
  writeFileSync(
    join(directory, 'config.json'),
    JSON.stringify({ ...config.hf, torch_dtype: 'bfloat16' }, null, 2),
  );
  return bytes;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      layers: { type: 'string', default: '32' },
      width: { type: 'string', default: '4096' },
      heads: { type: 'string', default: '32' },
      inner: { type: 'string', default: '11008' },
      vocabulary: { type: 'string', default: '32000' },
    },
  });
  if (!positionals[0]) throw new Error('give the directory to write');
  const shape = Object.fromEntries(Object.entries(values).map(([key, text]) => [key, Number(text)]));
  await writeRandomLlama(positionals[0], shape as unknown as LlamaShape, (line) => console.error(line));
}
