import { z } from 'zod';
import { UsageError } from '../../errors.js';
import { loadModel } from '../../models/checkpoint.js';
import { newModelConfig, parseConfig } from '../../models/families.js';
import { initModel, type Model } from '../../models/model.js';
import { disposeParams } from '../../tensor/params.js';
import type { CostModel } from '../cost.js';
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

/** @param raw a parsed YAML file @throws UsageError naming the first field that is wrong */
export function parsePair(raw: unknown, where: string): PairConfig {
  const parsed = pairSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new UsageError(`${where}: ${issue.path.join('.') || 'the configuration'}: ${issue.message}`);
}

/**
 * Enumerates what both models say after every prefix of every prompt, in float64, and the Jacobian of the student's logits in
 * its parameters. The oracle then judges gradients of those parameters.
 *
 * @throws UsageError when the models do not fit one another or the problem is too large
 */
export async function openPair(config: PairConfig, where: string): Promise<Pair> {
  const student = await float64Of(config, 'student', where);
  const teacher = await float64Of(config, 'teacher', where);
  const vocab = student.reader.config.vocabSize;
  if (teacher.reader.config.vocabSize !== vocab) {
    throw new UsageError(
      `${where}: teacher: a vocabulary of ${teacher.reader.config.vocabSize}, the student's is ${vocab}`,
    );
  }
  const shape = { vocab, horizon: config.horizon, eos: config.eos, alpha: config.alpha };
  checkSize(shape, where);
  for (const [i, prompt] of config.prompts.entries())
    checkPrompt(prompt, i, config, [student, teacher], where);
  const prefixes = allPrefixes(shape);
  const numbers = config.prompts.length * prefixes.length * vocab * student.size;
  if (numbers > maxJacobian) {
    throw new UsageError(
      `${where}: ${config.prompts.length * prefixes.length} states of ${vocab} logits and ${student.size} parameters make a Jacobian of ${numbers} numbers, more than ${maxJacobian}; take a smaller student, vocabulary or horizon, or fewer prompts`,
    );
  }
  const jacobians: Float64Array[] = [];
  const prompts = config.prompts.map((prompt) => {
    const reads = readTree(student, prompt, prefixes);
    for (const read of reads) jacobians.push(jacobianOf(student, read));
    return {
      student: reads.map((read) => logitsOf(student, read)),
      teacher: readTree(teacher, prompt, prefixes).map((read) => logitsOf(teacher, read)),
    };
  });
  const promptTokens = config.prompts.reduce((sum, p) => sum + p.length, 0) / config.prompts.length;
  return {
    world: growWorld(shape, prompts),
    jacobians,
    cost: { promptTokens, teacher: teacher.size / student.size },
    places: student.places,
  };
}

async function float64Of(
  config: PairConfig,
  which: 'student' | 'teacher',
  where: string,
): Promise<Float64Model> {
  const chosen = config[which];
  const opened =
    typeof chosen === 'string' ? await loadModel(chosen) : newModel(chosen, config, `${where}: ${which}`);
  try {
    return float64Model(opened, typeof chosen === 'string' ? chosen : `${where}: ${which}`);
  } finally {
    disposeParams(opened.params);
  }
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
  { horizon }: PairConfig,
  models: readonly Float64Model[],
  where: string,
): void {
  for (const { reader } of models) {
    const { vocabSize, maxPositions } = reader.config;
    const foreign = prompt.find((id) => id >= vocabSize);
    if (foreign !== undefined)
      throw new UsageError(
        `${where}: prompts.${index}: token ${foreign} is outside the vocabulary of ${vocabSize}`,
      );
    if (prompt.length + horizon - 1 > maxPositions) {
      throw new UsageError(
        `${where}: prompts.${index}: ${prompt.length} tokens and a horizon of ${horizon} do not fit the model's context of ${maxPositions}`,
      );
    }
  }
}
