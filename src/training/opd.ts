import type { Method } from './method.js';
import { minillm } from './minillm.js';

/**
 * On-policy distillation by policy gradient, as in tinker's recipe: the student samples (no mixing), and every token is
 * weighed by its own reward alone,
 *
 *     L = −Σ_n A_n ρ_n / tokens,   A_n = r_n = ln p(y_n) − ln q_old(y_n),   ρ_n = exp(ln q_new − ln q_old)
 *
 * (γ = 0). Its expected gradient is that of the per-token reverse KL at the sampled states, held fixed: `gkd` with β = 1, λ =
 * 1 by sampling instead of the whole vocabulary. What it is made of is `minillm` with the switches of `opdObjective`.
 */
export function opd(): Method {
  return minillm();
}
