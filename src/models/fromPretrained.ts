import { loadModel } from './checkpoint.js';
import { type HubOptions, resolveModel } from './hub.js';
import type { Model } from './model.js';

/**
 * Loads a model by directory or by its id on the Hugging Face Hub, as `from_pretrained` does; see `resolveModel`.
 *
 * @throws UsageError in one line
 */
export async function fromPretrained(idOrDir: string, options: HubOptions = {}): Promise<Model> {
  return loadModel(await resolveModel(idOrDir, options));
}
