import { averageLogits, babyllamaLoss } from '../objectives/babyllama.js';
import type { Method } from './method.js';
import { supervised } from './supervised.js';

/**
 * BabyLlama (arXiv 2308.02019): α·CE + (1 − α)·T²·KL to the averaged logits of one or more teachers, on the gold
 * responses (`babyllamaLoss`). Departure: the reference pretrains on every position of plain text; here only response
 * tokens count, as in the methods beside it.
 */
export function babyllama(): Method {
  return supervised(
    ({ config }) => {
      const { alpha, temperature, reduction } = config.kd;
      return (logits, targets, teachers, totals) => {
        const mean = averageLogits(teachers);
        const { loss, ce, distillation } = babyllamaLoss(logits, mean, targets, {
          alpha,
          temperature,
          reduction,
          totals,
        });
        return { loss, parts: { ce_loss: ce, kd_loss: distillation } };
      };
    },
    { teachers: true },
  );
}
