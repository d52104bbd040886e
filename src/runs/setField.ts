import { z } from 'zod';
import { UsageError } from '../errors.js';

/**
 * What may stand in a field: `text` only (a path, a name), `either` text or a list or mapping (student, teacher), or `other`
 * (numbers, switches, words of a list), which is YAML.
 */
export function fieldKind(schema: z.core.$ZodType, path: readonly string[]): 'text' | 'either' | 'other' {
  const found = schemasAt(schema, path);
  if (!found.some((one) => one instanceof z.ZodString || one instanceof z.ZodURL)) return 'other';
  return found.length > 1 ? 'either' : 'text';
}

/** Every schema that a value at this path may meet. */
function schemasAt(schema: z.core.$ZodType, path: readonly string[]): z.core.$ZodType[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return schemasAt(schema.unwrap(), path);
  }
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => schemasAt(option, path));
  const [key, ...rest] = path;
  if (key === undefined) return [schema];
  if (!(schema instanceof z.ZodObject) || !Object.hasOwn(schema.shape, key)) return [];
  return schemasAt(schema.shape[key], rest);
}

/**
 * The value of `--set field=value`. A text field takes the text as it stands: to YAML the rest of `runs/d #1/best` is a comment,
 * `0123` a number and `a: b` a mapping, and another file would be read without a word. A text that is quoted
 * as a whole, as programs pass it on, loses its quotes.
 *
 * @param yaml reads everything else @throws UsageError for a comment in a value, which would be dropped silently
 */
export function setValue(
  schema: z.core.$ZodType,
  path: readonly string[],
  text: string,
  yaml: (text: string) => unknown,
): unknown {
  const kind = fieldKind(schema, path);
  const quoted = /^("[^"]*"|'[^']*'|"(\\.|[^"\\])*")$/.test(text);
  const plain = kind === 'text' || (kind === 'either' && !/^\s*[[{]/.test(text));
  if (plain && !quoted) return text;
  if (/(^|\s)#/.test(text.replace(/"[^"]*"|'[^']*'/g, ''))) {
    throw new UsageError(
      `--set ${path.join('.')}=${text}: what follows # would be left out as a comment; leave it out, or quote the text`,
    );
  }
  return yaml(text);
}
