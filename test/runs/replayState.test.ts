import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readReplay, writeReplay } from '../../src/runs/replayState.js';
import type { Replay } from '../../src/training/replay.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const place = temporaryDirectory('replay');
afterAll(place.remove);
const file = join(place.path, 'replay.json');

const replay: Replay = {
  threshold: 0.30000000000000004,
  reference: 1 / 3,
  buffer: [
    { promptIds: Int32Array.of(1, 2), responseIds: Int32Array.of(3) },
    { promptIds: Int32Array.of(4), responseIds: Int32Array.of(5, 0) },
  ],
};

describe('replay.json', () => {
  it('comes back as it was', async () => {
    await writeReplay(place.path, replay);
    expect(await readReplay(place.path, 6)).toEqual(replay);
    const fresh = { threshold: 0, reference: null, buffer: [] };
    await writeReplay(place.path, fresh);
    expect(await readReplay(place.path, 6)).toEqual(fresh);
  });

  it.each([
    [
      'cut off',
      (text: string) => text.slice(0, 40),
      /replay\.json: not valid JSON; the checkpoint is damaged/,
    ],
    [
      'a token outside the vocabulary',
      (text: string) => text.replace('[3]', '[6]'),
      /response 0 holds the token id 6/,
    ],
    ['an empty response', (text: string) => text.replace('[3]', '[]'), /buffer\.0\.response_ids: /],
    ['a threshold above 1', (text: string) => text.replace('0.30000000000000004', '2'), /threshold: /],
    ['an unknown field', (text: string) => text.replace('{', '{"__proto__": {}, '), /replay\.json: /],
  ])('%s: one line', async (_, change, line) => {
    await writeReplay(place.path, replay);
    writeFileSync(file, change(readFileSync(file, 'utf8')));
    await expect(readReplay(place.path, 6)).rejects.toThrow(line);
  });

  it('missing: one line', async () => {
    rmSync(file);
    await expect(readReplay(place.path, 6)).rejects.toThrow(
      /replay\.json: cannot be read \(ENOENT\); the checkpoint is incomplete/,
    );
  });
});
