import { babyllama } from './babyllama.js';
import type { methodNames } from './config.js';
import { distillm } from './distillm.js';
import { gkd } from './gkd.js';
import { imitkd } from './imitkd.js';
import { kd } from './kd.js';
import type { Method } from './method.js';
import { minillm } from './minillm.js';
import { opd } from './opd.js';
import { reverseKd } from './reverseKd.js';
import { seqkd } from './seqkd.js';
import { sft } from './sft.js';

/** Every training method by the name that configurations use. */
export const methods = {
  minillm,
  sft,
  kd: () => kd(),
  'reverse-kd': reverseKd,
  seqkd,
  babyllama,
  gkd,
  imitkd,
  distillm,
  opd,
} satisfies Record<(typeof methodNames)[number], () => Method>;
