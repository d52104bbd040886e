/** The teacher of the setting `stories`, which is not part of the repository. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

/**
 * The directory of raincandy-u/TinyStories-656K: what was given, else TINYSTORIES of the environment.
 *
 * @returns `missing`, a line why the setting is skipped and what mends it, where there is none
 */
export function storyTeacher(given = process.env.TINYSTORIES): { directory: string } | { missing: string } {
  const how = 'set TINYSTORIES to a directory with raincandy-u/TinyStories-656K of huggingface.co';
  if (!given) return { missing: `needs its teacher: ${how}` };
  const directory = resolve(given);
  const lacks = ['config.json', 'model.safetensors', 'tokenizer.json'].filter(
    (name) => !existsSync(join(directory, name)),
  );
  return lacks.length > 0 ? { missing: `${directory} has no ${lacks.join(', ')}: ${how}` } : { directory };
}
