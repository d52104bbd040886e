import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readPrompts } from '../../src/data/prompts.js';
import { UsageError } from '../../src/errors.js';

const root = mkdtempSync(path.join(tmpdir(), 'minillm-prompts-'));
afterAll(() => rmSync(root, { recursive: true }));

function read(text: string) {
  const file = path.join(root, 'prompts.jsonl');
  writeFileSync(file, text);
  return readPrompts(file);
}

describe('readPrompts', () => {
  it('reads texts and ids, ids first', async () => {
    const rows = await read('{"prompt":"a"}\n{"ids":[0,5]}\n{"prompt":"b","ids":[1]}\n');
    expect(rows).toEqual([{ prompt: 'a' }, { ids: [0, 5] }, { ids: [1] }]);
  });

  it.each([
    ['', 'has no rows'],
    ['{"text":"a"}', ':1: expected {"prompt":"…"}'],
    ['{"prompt":""}', ':1: expected {"prompt":"…"}'],
    ['{"prompt":7}', ':1: expected {"prompt":"…"}'],
    ['{"ids":[]}', ':1: "ids": expected a list of token ids that is not empty'],
    ['{"ids":"1 2"}', ':1: "ids": expected a list'],
    ['{"ids":[1,-2]}', ':1: "ids"[1]: -2 is no token id'],
    ['{"ids":[1.5]}', ':1: "ids"[0]: 1.5 is no token id'],
    ['{"ids":[null]}', ':1: "ids"[0]: null is no token id'],
    ['{"ids":[4294967296]}', ':1: "ids"[0]: 4294967296 is no token id'],
  ])('refuses %j', async (text, message) => {
    await expect(read(text)).rejects.toThrow(UsageError);
    await expect(read(text)).rejects.toThrow(message);
  });
});
