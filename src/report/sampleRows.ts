import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { finite, isObject, jsonLines, readText } from './untrusted.js';

/** One generated response with what student and teacher thought of each token. */
export interface SampleRow {
  index: number;
  prompt: string;
  reference: string;
  text: string;
  /** Absent when the row has no tokens, or lists of different lengths. */
  tokens?: { text: string; student: number | null; teacher: number | null }[];
  finished: boolean | null;
}

/** The samples of a run's evaluation, or else those of its last validation. */
export function loadSamples(
  directory: string,
  notes: string[],
): { samples: SampleRow[]; samplesFrom: string | null } {
  const folder = path.join(directory, 'samples');
  const files = statSync(folder, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(folder) : [];
  const step = (name: string): number => Number(/^step-(\d+)\.jsonl$/.exec(name)?.[1] ?? -1);
  const latest = files.filter((name) => step(name) >= 0).sort((a, b) => step(b) - step(a))[0];
  const name = files.includes('eval.jsonl') ? 'eval.jsonl' : latest;
  if (name === undefined) return { samples: [], samplesFrom: null };
  const { rows, bad } = jsonLines(readText(path.join(folder, name)), sampleRow);
  if (bad > 0) notes.push(`samples/${name}: ${bad} line${bad === 1 ? '' : 's'} could not be read`);
  return { samples: rows, samplesFrom: path.basename(name, '.jsonl') };
}

function sampleRow(value: unknown, line: number): SampleRow | undefined {
  if (!isObject(value) || typeof value.text !== 'string') return undefined;
  const { tokens, logprobs, teacher_logprobs: teacher } = value;
  const text = (field: unknown): string => (typeof field === 'string' ? field : '');
  const number = (list: unknown, i: number): number | null =>
    Array.isArray(list) && finite(list[i]) ? list[i] : null;
  const usable =
    Array.isArray(tokens) &&
    tokens.every((token) => typeof token === 'string') &&
    [logprobs, teacher].every(
      (list) => list === undefined || (Array.isArray(list) && list.length === tokens.length),
    );
  return {
    index: Number.isInteger(value.index) ? (value.index as number) : line,
    prompt: text(value.prompt),
    reference: text(value.reference),
    text: value.text,
    ...(usable && {
      tokens: tokens.map((token: string, i) => ({
        text: token,
        student: number(logprobs, i),
        teacher: number(teacher, i),
      })),
    }),
    finished: typeof value.finished === 'boolean' ? value.finished : null,
  };
}
