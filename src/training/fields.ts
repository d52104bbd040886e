import { methodNames, type TrainConfig, trainConfigSchema } from './config.js';

type MethodName = (typeof methodNames)[number];

const policyGradient = ['minillm', 'opd'] as const;
const answering = ['gkd', 'imitkd', 'distillm'] as const;
const divergent = ['kd', 'reverse-kd', 'seqkd', ...answering] as const;
const withText = [...policyGradient, 'distillm'] as const;

/**
 * Fields and whole sections that only some methods read; every other field means the same to all.
 * test/training/fields.test.ts watches what each method reads.
 */
export const readers: Readonly<Record<string, readonly MethodName[]>> = {
  teacher: methodNames.filter((name) => name !== 'sft'),
  'data.corpus': withText,
  'train.prompt_weight': ['sft'],
  'train.kd_temperature': divergent,
  'train.kd_scale': divergent,
  objective: policyGradient,
  rewards: policyGradient,
  'rollout.rollouts': policyGradient,
  'rollout.samples': policyGradient,
  'rollout.sampling': policyGradient,
  'rollout.states': policyGradient,
  'rollout.inner_epochs': policyGradient,
  'rollout.temperature': answering,
  'rollout.top_k': [...policyGradient, ...answering],
  'rollout.top_p': [...policyGradient, ...answering],
  'rollout.min_p': [...policyGradient, ...answering],
  'rollout.repetition_penalty': [...policyGradient, ...answering],
  'rollout.no_repeat_ngram': [...policyGradient, ...answering],
  'rollout.stop_strings': [...policyGradient, ...answering],
  value: policyGradient,
  'kd.ratio': ['kd', 'seqkd'],
  'kd.alpha': ['babyllama'],
  'kd.temperature': ['babyllama'],
  'kd.reduction': ['babyllama'],
  gkd: ['gkd'],
  imitkd: ['imitkd'],
  distillm: ['distillm'],
  'pretrain.rows': policyGradient,
  'pretrain.teacher_cache': policyGradient,
  'pretrain.length': withText,
  'pretrain.batch_size': withText,
};

/**
 * Fields whose values are not the defaults and which the configured method never looks at: a configuration that several
 * methods share may have them, but whoever sets `gkd.beta` for `kd` believes that it does something.
 */
export function unreadFields(config: TrainConfig): string[] {
  const defaults = trainConfigSchema.parse({
    ...{ method: config.method, student: 'any', data: {}, train: { steps: 0, lr: 1 } },
  });
  return Object.entries(readers)
    .filter(([, methods]) => !methods.includes(config.method))
    .flatMap(([field]) => changed(field, at(config, field), at(defaults, field)));
}

/** Whether a field, by its dotted name, means something to a method. */
export function isRead(field: string, method: MethodName): boolean {
  const [, methods = methodNames] =
    Object.entries(readers).find(([name]) => field === name || field.startsWith(`${name}.`)) ?? [];
  return methods.includes(method);
}

/** The fields at and below `field` that differ. */
function changed(field: string, value: unknown, usual: unknown): string[] {
  if (JSON.stringify(value) === JSON.stringify(usual)) return [];
  if (!isSection(value) || !isSection(usual)) return [field];
  const names = new Set([...Object.keys(value), ...Object.keys(usual)]);
  return [...names].flatMap((name) => changed(`${field}.${name}`, value[name], usual[name]));
}

function at(config: TrainConfig, field: string): unknown {
  return field.split('.').reduce<unknown>((node, key) => (isSection(node) ? node[key] : undefined), config);
}

function isSection(x: unknown): x is Record<string, unknown> {
  return typeof x === 'object' && x !== null && !Array.isArray(x);
}
