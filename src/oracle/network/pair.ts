import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { UsageError } from '../../errors.js';
import { loadModel } from '../../models/checkpoint.js';
import { newModelConfig, parseConfig } from '../../models/families.js';
import { mergeAdapter } from '../../models/lora.js';
import { initModel, type Model } from '../../models/model.js';
import { disposeParams } from '../../tensor/params.js';
import type { CostModel } from '../cost.js';
import { reverseKlExact } from '../exact.js';
import { allPrefixes, growWorld, type World } from '../world.js';
import { checkSize } from '../worldFile.js';
import { float64Families } from './decoder.js';
import {
  type Float64Model,
  float64Model,
  jacobianOf,
  logitsOf,
  type ParameterPlace,
  readTree,
} from './float64Model.js';
import { pullBack } from './space.js';

const count = z.number().int().min(1);
const token = z.number().int().min(0);

const model = z.union(
  [
    z.string().min(1),
    z.strictObject({
      family: z.enum(float64Families as [string, ...string[]]).default('llama'),
      hidden_size: count.max(256),
      layers: count.max(16),
      heads: count.max(64),
      kv_heads: count.max(64).optional(),
      intermediate_size: count.max(1024).optional(),
      tied_head: z.boolean().default(true),
      initializer_range: z.number().positive().max(10).default(0.5),
      seed: z.number().int().default(1),
    }),
  ],
  { error: 'expected the path of a model directory, or a shape (hidden_size, layers, heads, ...)' },
);

const pairSchema = z.strictObject({
  student: model.describe('a Hugging Face directory, or the shape of a new model'),
  teacher: model.describe('the same'),
  vocab: count.min(2).max(1000).optional().describe('of new models; default: that of the directory'),
  horizon: count.describe('longest response, in tokens'),
  eos: token.describe('the token that ends a response'),
  alpha: z.number().min(0).max(1).default(0.2).describe("the teacher's share in mixed sampling"),
  prompts: z.array(z.array(token).min(1).max(64)).min(1).describe('token ids; drawn with equal probability'),
});

/** A tiny real pair of models: paths are resolved already. */
export type PairConfig = z.output<typeof pairSchema>;

/** A pair unrolled: what `runOracle` takes, and the names of the parameters. */
export interface Pair {
  world: World;
  jacobians: Float64Array[];
  cost: CostModel;
  places: ParameterPlace[];
}

/** Float64 numbers of all Jacobians together; 240 MB. */
const maxJacobian = 3e7;

/**
 * Paths of models are relative to the file.
 *
 * @param raw a parsed YAML file @throws UsageError naming the first field that is wrong
 */
export function parsePair(raw: unknown, where: string): PairConfig {
  const parsed = pairSchema.safeParse(raw);
  if (parsed.success) {
    const path = (given: PairConfig['student']): PairConfig['student'] =>
      typeof given === 'string' ? resolve(dirname(where), given) : given;
    return { ...parsed.data, student: path(parsed.data.student), teacher: path(parsed.data.teacher) };
  }
  const issue = parsed.error.issues[0]!;
  throw new UsageError(`${where}: ${issue.path.join('.') || 'the configuration'}: ${issue.message}`);
}

/** Loads or draws the two models of a configuration, and `pairOf` them. @throws UsageError as `pairOf` does */
export async function openPair(config: PairConfig, where: string): Promise<Pair> {
  const opened: Model[] = [];
  try {
    for (const which of ['student', 'teacher'] as const) {
      const chosen = config[which];
      opened.push(
        typeof chosen === 'string'
          ? mergeAdapter(await loadModel(chosen))
          : newModel(chosen, config, `${where}: ${which}`),
      );
    }
    return pairOf(opened[0]!, opened[1]!, config, where);
  } finally {
    for (const { params } of opened) disposeParams(params);
  }
}

/** What is asked of two models. */
export type Problem = Pick<PairConfig, 'horizon' | 'eos' | 'alpha' | 'prompts'>;

/**
 * Enumerates what both models say after every prefix of every prompt, in float64, and the Jacobian of the student's logits in
 * its parameters. The oracle then judges gradients of those parameters.
 *
 * @throws UsageError when the models do not fit one another or the problem is too large
 */
export function pairOf(student: Model, teacher: Model, problem: Problem, where: string): Pair {
  const vocab = student.config.vocabSize;
  if (teacher.config.vocabSize !== vocab) {
    throw new UsageError(
      `${where}: teacher: a vocabulary of ${teacher.config.vocabSize}, the student's is ${vocab}`,
    );
  }
  const { prompts, ...rest } = problem;
  const shape = { vocab, horizon: rest.horizon, eos: rest.eos, alpha: rest.alpha };
  checkSize(shape, where);
  for (const [i, prompt] of prompts.entries())
    for (const model of [student, teacher]) checkPrompt(prompt, i, rest.horizon, model, where);
  const [own, other] = [student, teacher].map((model, i) =>
    float64Model(model, `${where}: ${i === 0 ? 'student' : 'teacher'}`),
  ) as [Float64Model, Float64Model];
  const prefixes = allPrefixes(shape);
  const states = prompts.length * prefixes.length;
  if (states * vocab * own.size > maxJacobian) {
    throw new UsageError(
      `${where}: ${states} states of ${vocab} logits and ${own.size} parameters make a Jacobian of more than ${maxJacobian} numbers; take a smaller student, vocabulary or horizon, or fewer prompts`,
    );
  }
  const jacobians: Float64Array[] = [];
  const logits = prompts.map((prompt) => {
    const reads = readTree(own, prompt, prefixes);
    for (const read of reads) jacobians.push(jacobianOf(own, read));
    return {
      student: reads.map((read) => logitsOf(own, read)),
      teacher: readTree(other, prompt, prefixes).map((read) => logitsOf(other, read)),
    };
  });
  const promptTokens = prompts.reduce((sum, prompt) => sum + prompt.length, 0) / prompts.length;
  return {
    world: growWorld(shape, logits),
    jacobians,
    cost: { promptTokens, teacher: other.size / own.size },
    places: own.places,
  };
}

/** The exact gradient of the reverse KL by Hugging Face name, in the layout of the files: nn.Linear is [out, in]. */
export function parameterGradient({ world, jacobians, places }: Pair): Record<string, number[]> {
  const flat = pullBack(jacobians, reverseKlExact(world).gradient);
  return Object.fromEntries(
    places.map(({ name, shape, offset, size, transposed }) => {
      const own = flat.subarray(offset, offset + size);
      if (!transposed) return [name, [...own]];
      const [rows, columns] = shape as [number, number];
      return [name, Array.from(own, (_, i) => own[(i % rows) * columns + Math.floor(i / rows)]!)];
    }),
  );
}

function newModel(shape: Exclude<PairConfig['student'], string>, config: PairConfig, where: string): Model {
  if (config.vocab === undefined)
    throw new UsageError(`${where}: a new model needs vocab, the number of tokens`);
  const longest = Math.max(...config.prompts.map((prompt) => prompt.length));
  const family = shape.family as 'llama';
  const fresh = newModelConfig(family, {
    vocabSize: config.vocab,
    hiddenSize: shape.hidden_size,
    layers: shape.layers,
    heads: shape.heads,
    ...(shape.kv_heads !== undefined && { kvHeads: shape.kv_heads }),
    ...(shape.intermediate_size !== undefined && { intermediateSize: shape.intermediate_size }),
    maxPositions: longest + config.horizon,
    tiedHead: shape.tied_head,
  });
  // A tiny network with the customary 0.02 predicts the same everywhere.
  return initModel(
    parseConfig({ ...fresh.hf, initializer_range: shape.initializer_range }, where),
    shape.seed,
  );
}

function checkPrompt(
  prompt: readonly number[],
  index: number,
  horizon: number,
  { config: { vocabSize, maxPositions } }: Model,
  where: string,
): void {
  const foreign = prompt.find((id) => id >= vocabSize);
  if (foreign !== undefined) {
    throw new UsageError(
      `${where}: prompts.${index}: token ${foreign} is outside the vocabulary of ${vocabSize}`,
    );
  }
  if (prompt.length + horizon - 1 > maxPositions) {
    throw new UsageError(
      `${where}: prompts.${index}: ${prompt.length} tokens and a horizon of ${horizon} do not fit the model's context of ${maxPositions}`,
    );
  }
}
