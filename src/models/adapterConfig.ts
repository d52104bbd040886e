import { z } from 'zod';
import { brief, UsageError } from '../errors.js';
import { checkConfig, type Lora, type ModelConfig } from './config.js';
import {
  type BaseSource,
  kindsOf,
  type LoraOptions,
  linearMaps,
  matchingMaps,
  savedParameters,
  scaleOf,
} from './loraTargets.js';

/** Before the name of a module in an adapter's file. */
export const PEFT_PREFIX = 'base_model.model.';

/** The adapters that a person chose. @throws UsageError if a target or a module is none of the model's */
export function newAdapter(base: ModelConfig, options: LoraOptions, source: BaseSource): Lora {
  const { rank, alpha, rslora, targets, modulesToSave } = options;
  const maps = matchingMaps(base, targets, 'lora.targets');
  const scale = scaleOf(alpha, rank, rslora);
  return checked(
    {
      maps: Object.fromEntries(maps.map((name) => [name, { rank, scale }])),
      ...savedParameters(base, modulesToSave, 'lora.modules_to_save'),
      adapter: {
        alpha_pattern: {},
        base_model_name_or_path: source.name,
        bias: 'none',
        fan_in_fan_out: base.family === 'gpt2',
        inference_mode: true,
        init_lora_weights: true,
        lora_alpha: alpha,
        lora_dropout: 0,
        modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
        peft_type: 'LORA',
        r: rank,
        rank_pattern: {},
        revision: source.revision ?? null,
        target_modules: targets === 'all-linear' ? kindsOf(maps) : [...targets],
        task_type: 'CAUSAL_LM',
        use_dora: false,
        use_rslora: rslora,
      },
      ...(source.digest !== undefined && { baseDigest: source.digest }),
    },
    'lora.modules_to_save',
  );
}

function checked(lora: Lora, where: string): Lora {
  const both = Object.keys(lora.maps).find((name) => lora.saved.includes(`${name}.weight`));
  if (both)
    throw new UsageError(
      `${where}: ${both} is saved whole and has an adapter as well; leave out one of the two`,
    );
  return lora;
}

const names = z.array(z.string().min(1).max(400)).max(100_000);
const pattern = (value: z.ZodNumber) =>
  z
    .record(z.string(), value)
    .refine((found) => Object.keys(found).every((name) => /^[\w.]+$/.test(name)), {
      error: 'expected names of modules or ends of them, no regular expressions',
    })
    .nullish()
    .transform((found) => found ?? {});
const rank = z
  .number()
  .int()
  .min(1)
  .max(1 << 20);
const alpha = z.number().positive().max(1e9);

const schema = z.looseObject({
  peft_type: z.literal('LORA', 'only LORA is supported'),
  task_type: z.enum(['CAUSAL_LM'], 'only CAUSAL_LM is supported').nullish(),
  base_model_name_or_path: z.string().min(1).nullish(),
  revision: z.string().min(1).nullish(),
  r: rank,
  lora_alpha: alpha,
  rank_pattern: pattern(rank),
  alpha_pattern: pattern(alpha),
  use_rslora: z.boolean().default(false),
  bias: z.literal('none', 'only none is supported').default('none'),
  target_modules: z.union([z.string().min(1).max(10_000), names.min(1)]),
  modules_to_save: names.nullish(),
  init_lora_weights: z
    .union([z.boolean(), z.enum(['gaussian', 'eva', 'orthogonal']), z.null()], {
      error: 'another one changes the base as well; save the adapter for the plain base, or merge it',
    })
    .default(true),
});

/** Fields that say nothing about the function of a saved adapter. */
const inert = new Set([
  ...['auto_mapping', 'peft_version', 'inference_mode', 'lora_dropout', 'fan_in_fan_out', 'loftq_config'],
  ...['megatron_core', 'qalora_group_size', 'runtime_config', 'eva_config', 'layers_pattern'],
]);

/**
 * Reads adapter_config.json for a base. Which maps have adapters is what `target_modules` says; where that is a regular expression,
 * the names of the tensors.
 *
 * @param where the file, for error lines @param stored names of the tensors in adapter_model.safetensors
 * @throws UsageError naming a field that is malformed, does not fit the base, or would change the result and is not supported
 */
export function parseAdapter(
  json: Record<string, unknown>,
  where: string,
  base: ModelConfig,
  stored: Iterable<string>,
): Lora {
  const c = checkConfig(schema, json, where);
  for (const [field, value] of Object.entries(json)) {
    if (field in schema.shape || inert.has(field) || isNothing(value)) continue;
    if (field === 'ensure_weight_tying' && !base.tiedHead) continue;
    throw new UsageError(
      `${where}: ${brief(field)} is ${brief(value)}; only plain LoRA is supported (docs/lora.md)`,
    );
  }
  const targets = c.target_modules;
  const maps =
    typeof targets !== 'string'
      ? matchingMaps(base, targets, `${where}: target_modules`)
      : targets === 'all-linear'
        ? linearMaps(base)
        : adaptedIn(stored, base);
  const of = (map: string) => ({
    rank: lookedUp(c.rank_pattern, map) ?? c.r,
    alpha: lookedUp(c.alpha_pattern, map) ?? c.lora_alpha,
  });
  const field = `${where}: modules_to_save`;
  return checked(
    {
      maps: Object.fromEntries(
        maps.map((map) => {
          const { rank, alpha } = of(map);
          return [map, { rank, scale: scaleOf(alpha, rank, c.use_rslora) }];
        }),
      ),
      ...savedParameters(base, c.modules_to_save ?? [], field),
      adapter: json,
    },
    field,
  );
}

function isNothing(value: unknown): boolean {
  return !value || (typeof value === 'object' && Object.keys(value).length === 0);
}

/** The entry of the first name that the map's ends with, after a dot. */
function lookedUp(pattern: Record<string, number>, map: string): number | undefined {
  return Object.entries(pattern).find(([end]) => map === end || map.endsWith(`.${end}`))?.[1];
}

/** The linear maps that tensors of a file are adapters of. */
function adaptedIn(stored: Iterable<string>, base: ModelConfig): string[] {
  const all = new Set(stored);
  return linearMaps(base).filter((map) => all.has(`${PEFT_PREFIX}${map}.lora_A.weight`));
}
