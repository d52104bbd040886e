import type { Example } from '../data/examples.js';
import { UsageError } from '../errors.js';
import { cannotCompute, metricNames } from '../evaluation/evaluationMetrics.js';
import type { TrainConfig } from '../training/config.js';
import { placeOfTeacher } from '../training/configParts.js';
import { type Selection, selectionOf } from '../training/selection.js';

/**
 * What `best/` is chosen by: as configured where every validation row has a reference, else the reverse KL of a response, which needs
 * none, else nothing.
 */
export function selectionFor(config: TrainConfig, valid: readonly Example[]): Selection | undefined {
  if (hasReferences(valid)) return selectionOf(config);
  return hasLocalTeacher(config) ? { metric: 'reverse_kl_seq', better: (a, b) => a < b } : undefined;
}

/**
 * A line about validation rows without references: what is not measured, and what `best/` is chosen by instead. undefined where all
 * have one.
 *
 * @throws UsageError when the configuration asks for a choice by references
 */
export function withoutReferences(config: TrainConfig, valid: readonly Example[]): string | undefined {
  if (hasReferences(valid)) return undefined;
  const bare = valid.filter(({ outputs }) => outputs.length === 0).length;
  const { select, metrics } = config.eval;
  if (select)
    throw new UsageError(
      `eval.select: ${select} needs a reference answer in every row of data.valid, and ${bare} of ${valid.length} have none; leave it out, or give references`,
    );
  const asked = new Set<string>(['lm_loss', 'rouge_l_sampled', ...metrics]);
  const given = { teacher: true, examples: valid, seeds: 2 };
  const lost = metricNames.filter((name) => asked.has(name) && cannotCompute(name, given));
  const selection = selectionFor(config, valid);
  const patient = config.eval.patience ? ', and eval.patience ends nothing' : '';
  const chosen = selection
    ? `best/ is chosen by ${selection.metric}`
    : `no best/ is chosen, the result is final/${patient}`;
  return `${bare} of ${valid.length} validation rows have no reference: ${lost.join(', ')} are not measured, ${chosen}`;
}

/** A line about a run without validation rows; undefined where there are some. */
export function withoutValidation({ method }: TrainConfig, valid: readonly Example[]): string | undefined {
  if (valid.length > 0) return undefined;
  const stays = method === 'distillm' ? ', distillm.threshold stays as it is' : '';
  return `no data.valid: nothing is validated, no best/ is chosen${stays}, the result is final/`;
}

function hasReferences(valid: readonly Example[]): boolean {
  return valid.every(({ outputs }) => outputs.length > 0);
}

function hasLocalTeacher({ method, teacher }: TrainConfig): boolean {
  const first = [teacher ?? []].flat()[0];
  return method !== 'sft' && first !== undefined && typeof placeOfTeacher(first) === 'string';
}
