import { describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { seqkd } from '../../src/training/seqkd.js';
import { EOS, tinyWorld, VOCAB } from '../helpers/training.js';

await initBackend({ backend: 'cpu' });

const FILE = 'pseudo-responses.jsonl';
const config = { method: 'seqkd', train: { steps: 2 } };

async function sampled(): Promise<{ text: string; log: string[]; world: ReturnType<typeof tinyWorld> }> {
  const world = tinyWorld({ config, teacher: { vocab: VOCAB + 6 } });
  const log: string[] = [];
  world.context.log = (line) => log.push(line);
  await world.run();
  return { text: (await world.context.scratch.read(FILE))!, log, world };
}

describe('the teacher’s answers that seqkd learns from', () => {
  it('one to every prompt, of ids that the student has, kept as JSONL', async () => {
    const { text, world } = await sampled();
    const rows = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as number[]);
    expect(rows).toHaveLength(world.context.train.length);
    for (const ids of rows) {
      expect(Math.max(...ids)).toBeLessThan(VOCAB);
      const eos = ids.indexOf(EOS);
      expect(eos < 0 ? ids.length : eos + 1).toBe(ids.length);
    }
    expect((await sampled()).text).toBe(text);
    world.dispose();
  });

  it('are sampled once and read back', async () => {
    const { log, world } = await sampled();
    expect(log).toEqual(['seqkd: the teacher answers 8 training prompts']);
    await seqkd().prepare!(world.context);
    expect(log).toHaveLength(1);
    world.dispose();
  });

  it.each([
    ['too few', () => '[1,0]\n', `${FILE}: 1 responses for 8 prompts; delete it and they are sampled again`],
    ['a torn line', (text: string) => text.replace(/\]\n$/, '\n'), `${FILE}:8: expected a list of token ids`],
    [
      'an id out of range',
      (text: string) => text.replace(/^\[\d+/, `[${VOCAB}`),
      `${FILE}:1: expected a list of token ids`,
    ],
    ['an empty list', (text: string) => text.replace(/^.*/, '[]'), `${FILE}:1: expected a list of token ids`],
    [
      'something else',
      (text: string) => text.replace(/^.*/, '{"a":1}'),
      `${FILE}:1: expected a list of token ids`,
    ],
  ])('a damaged file is told in one line: %s', async (_, damage, line) => {
    const { text, world } = await sampled();
    await world.context.scratch.write(FILE, damage(text));
    await expect(seqkd().prepare!(world.context)).rejects.toThrow(line);
    // A run's files have places.
    world.context.scratch = { ...world.context.scratch, place: (name) => `runs/x/scratch/${name}` };
    await expect(seqkd().prepare!(world.context)).rejects.toThrow(`runs/x/scratch/${line}`);
    world.dispose();
  });
});
