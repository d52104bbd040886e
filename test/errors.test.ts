import { describe, expect, it } from 'vitest';
import { rowItems } from '../src/data/fields.js';
import { brief, RunError, refusedByDisk, UsageError } from '../src/errors.js';
import { parseConfig } from '../src/models/families.js';
import { completionRequest } from '../src/scoring/serverRequests.js';

describe('a message stays one line that can be read, whatever a file brings into it', () => {
  it.each([UsageError, RunError])('%s leaves out the middle of a long one', (Kind) => {
    const { message } = new Kind(`in.json: ${'a'.repeat(5000)}; expected a number`);
    expect(message).toHaveLength(1000);
    expect(message).toMatch(/^in\.json: a+…a+; expected a number$/);
    expect(new Kind('x'.repeat(1000)).message).toBe('x'.repeat(1000));
  });

  it('a name with line breaks and other control characters stays in the line', () => {
    expect(new UsageError('in.json: "a\n\r\n\u001b[31mb" is none').message).toBe(
      'in.json: "a [31mb" is none',
    );
  });

  it('a row with names of thousands of characters', () => {
    const refused = (): unknown => rowItems({ ['😀'.repeat(2000)]: 1 }, 'rows.jsonl:1');
    expect(refused).toThrow(/^rows\.jsonl:1: expected a field "instruction"/);
    expect(refused).toThrow(/^.{20,1000}$/);
  });
});

describe('a value nested deeper than the stack is named, not shown', () => {
  const deep = JSON.parse(`${'['.repeat(9000)}${']'.repeat(9000)}`) as unknown;

  it('brief', () => {
    expect(brief(deep)).toBe('a list nested too deeply');
    expect(brief({ a: deep })).toBe('an object nested too deeply');
    expect(brief({ a: 'x' }, 5)).toBe('{"a":');
    expect(brief(undefined)).toBe('nothing');
  });

  it('in config.json', () => {
    expect(() => parseConfig({ model_type: deep }, 'config.json')).toThrow(
      'config.json: model_type is a list nested too deeply; supported: ',
    );
    expect(() => parseConfig({ model_type: 'llama', hidden_size: deep }, 'config.json')).toThrow(
      'config.json: hidden_size is a list nested too deeply; ',
    );
  });

  it('in a request to the server', () => {
    const teacher = { vocabSize: 8, maxPositions: 8, gives: 'full' as const };
    const whole = { ...teacher, logprobs: () => [], distributions: () => [] };
    expect(() => completionRequest({ prompt: [1, deep] }, whole, undefined)).toThrow(
      'token 1 of a prompt is a list nested too deeply, expected an id from 0 to 7',
    );
  });
});

it('what a disk refuses is said in words, anything else is not', () => {
  const refused = (code: string, path?: string) =>
    Object.assign(new Error(`${code}: write`), { code, ...(path && { path }) });
  expect(refusedByDisk(refused('ENOSPC', '/a/b'))).toBe('/a/b: no space is left on the disk (ENOSPC)');
  expect(refusedByDisk(refused('EROFS'), 'runs/x')).toBe('runs/x: the disk is read-only (EROFS)');
  expect(refusedByDisk(refused('EDQUOT'))).toBe('the quota of the disk is used up (EDQUOT)');
  expect(refusedByDisk(refused('ENOENT', '/a'))).toBeUndefined();
  expect(refusedByDisk(new Error('no'))).toBeUndefined();
});
