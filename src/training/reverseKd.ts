import { divergenceLoss } from './divergenceLoss.js';
import type { Method } from './method.js';
import { supervised } from './supervised.js';

/**
 * Word-level distillation with the reverse KL: the token mean of KL(q‖p) at the states of the gold responses. The single-step term of MiniLLM (arXiv 2306.08543, eq. 3) without its sampling: the step between `kd`, which has
 * the other KL, and `minillm`, which has the student's own states.
 */
export function reverseKd(): Method {
  return supervised(({ config }) => divergenceLoss('reverse', config), { teachers: true });
}
