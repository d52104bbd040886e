import type { Example } from '../data/examples.js';
import { rougeTokens } from './metrics/rougeL.js';

/** Examples whose references have no word that Rouge reads: their Rouge-L is 0 whatever a model answers. */
export function withoutWords(examples: readonly Example[]): number {
  return examples.filter(
    ({ outputs }) => outputs.length > 0 && outputs.every((output) => rougeTokens(output).length === 0),
  ).length;
}

/** How many of some rows Rouge-L cannot see, in a line. */
export function wordlessNote(count: number, all: number, what: string): string {
  return (
    `Rouge-L reads the letters a-z and the digits only: ${count} of ${all} ${what} have no reference with such words, ` +
    'and score 0 whatever the model answers'
  );
}
