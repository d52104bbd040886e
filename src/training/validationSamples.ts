import type { TrainConfig } from './config.js';

/** With fewer prompts than these, a validation draws several samples of each. */
const RESPONSES = 200;
const MOST = 5;

/**
 * How often a validation answers each prompt: `eval.samples`, else as often as makes 200 responses in all, 1 to 5 times. So a
 * validation on few prompts is not the noisier one, and none costs more than one on the default number of prompts.
 */
export function validationSamples({ eval: { samples } }: Pick<TrainConfig, 'eval'>, prompts: number): number {
  return samples ?? Math.min(Math.max(Math.floor(RESPONSES / Math.max(prompts, 1)), 1), MOST);
}
