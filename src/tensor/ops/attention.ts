import type * as tf from '@tensorflow/tfjs-core';
import { type AttentionDims, kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import { checkGroups } from './decodeAttention.js';

/**
 * Causal scaled dot-product attention (Vaswani et al., arXiv 1706.03762, eq. 1) with grouped queries
 * (Ainslie et al., arXiv 2305.13245): o[t] = Σ_{u≤t} softmax_u(q[t]·k[u] / sqrt(Dh)) v[u], with a window only over
 * t − window < u ≤ t.
 *
 * @param q [B·T, H·Dh] @param k [B·T, Hkv·Dh] @param v [B·T, Hkv·Dh], rows by sequence, then slot
 * @returns [B·T, H·Dh], differentiable in q, k and v
 * @throws UsageError if the shapes do not fit, or H is no multiple of Hkv
 */
export function causalAttention(
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  dims: AttentionDims,
): tf.Tensor2D {
  const { batch, length, heads, kvHeads, headDim } = dims;
  checkGroups(heads, kvHeads, 'causalAttention');
  assertShape(q, [batch * length, heads * headDim], 'causalAttention: q');
  assertShape(k, [batch * length, kvHeads * headDim], 'causalAttention: k');
  assertShape(v, [batch * length, kvHeads * headDim], 'causalAttention: v');
  return differentiable<tf.Tensor2D>(
    [q, k, v],
    (save) => {
      const [o, kept] = kernels().attention([q, k, v], dims);
      save([q, k, v, o, kept]);
      return o;
    },
    (dy, saved) => {
      const [q, k, v, o, kept] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor];
      return kernels().attentionGrad(dy, { parts: [q, k, v], o, kept }, dims);
    },
  );
}
