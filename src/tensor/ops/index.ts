export { gelu, swiglu } from './activations.js';
export { type AttentionDims, cachedAttention, causalAttention } from './attention.js';
export { crossEntropyToTeacher, forwardKl, reverseKl } from './divergences.js';
export { embedding, gatherRows } from './gatherRows.js';
export { linear, unembed } from './linear.js';
export { layerNorm, rmsNorm } from './norms.js';
export { rotary } from './rotary.js';
export { tokenLogprob } from './tokenLogprob.js';
export { writeRows } from './writeRows.js';
