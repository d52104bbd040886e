import type { TrainConfig } from './config.js';

/** What `best/` is chosen by. */
export interface Selection {
  metric: 'lm_loss' | 'rouge_l_sampled' | 'reverse_kl_seq';
  better: (a: number, b: number) => boolean;
}

/** As configured. Where validation rows have no references, a run chooses otherwise (runs/selection.ts). */
export function selectionOf(config: Pick<TrainConfig, 'method' | 'eval'>): Selection {
  const select = config.eval.select ?? (config.method === 'sft' ? 'loss' : 'rouge_l');
  return select === 'loss'
    ? { metric: 'lm_loss', better: (a, b) => a < b }
    : { metric: 'rouge_l_sampled', better: (a, b) => a > b };
}

export const UNTRAINED =
  'best/ is the student before training: no validation was better than the one at step 0; what was trained is in final/';

/** What of a logged row says how a validation came out. */
export interface LoggedStep {
  step: number;
  phase: string;
  /** A metric of the row; undefined where it has none. */
  value(name: string): number | undefined;
}

/** Whether a run that trained has the student it began with as its best, by its own validations. */
export function choseUntrained({ metric, better }: Selection, rows: readonly LoggedStep[]): boolean {
  const values = rows.flatMap((row): [number, number][] => {
    const value = row.value(`valid_${metric}`);
    return row.phase === 'valid' && value !== undefined ? [[row.step, value]] : [];
  });
  const [first, ...later] = values;
  const trained = rows.some(({ phase }) => phase === 'train');
  return trained && first?.[0] === 0 && !later.some(([, value]) => better(value, first[1]));
}
