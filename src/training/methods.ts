import { babyllama } from './babyllama.js';
import type { methodNames } from './config.js';
import { kd } from './kd.js';
import type { Method } from './method.js';
import { minillm } from './minillm.js';
import { seqkd } from './seqkd.js';
import { sft } from './sft.js';

/** Every training method by the name that configurations use. */
export const methods = { minillm, sft, kd: () => kd(), seqkd, babyllama } satisfies Record<
  (typeof methodNames)[number],
  () => Method
>;
