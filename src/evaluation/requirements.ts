import type { Example } from '../data/examples.js';

/** What a metric may need beside a model and prompts. */
export const needs = {
  teacher: 'needs a teacher; give --teacher DIR',
  references: 'needs a reference answer in every row of the data',
  choices: 'needs rows with "choices", the answers to choose from',
  seeds: 'needs two seeds or more',
} as const;

export type Need = keyof typeof needs;

/** What there is to measure with. */
export interface Given {
  teacher: boolean;
  examples: readonly Example[];
  seeds: number;
}

/** Why a metric cannot be computed, as the end of a sentence that begins with its name; undefined if it can. */
export function obstacle(wanted: readonly Need[], given: Given): string | undefined {
  const there: Record<Need, boolean> = {
    teacher: given.teacher,
    references: given.examples.every((example) => example.outputs.length > 0),
    choices: given.examples.some((example) => example.choices !== undefined),
    seeds: given.seeds > 1,
  };
  const missing = wanted.find((need) => !there[need]);
  return missing && needs[missing];
}
