import { expect, it, vi } from 'vitest';
import { dataCommand } from '../../src/cli/commands/data.js';
import { buildWordnet } from '../../src/data/wordnet-build.js';

vi.mock('../../src/data/wordnet-build.js', () => ({
  buildWordnet: vi.fn(() => ({ rows: { train: [], valid: [], test: [] }, entries: [] })),
}));

const run = (...flags: string[]) =>
  dataCommand().parseAsync(['build', 'wordnet', '--quiet', ...flags], { from: 'user' });

it('says what it has built on standard output, as every command does', async () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  await run('--out', 'here');
  const said = write.mock.calls.flat().join('');
  write.mockRestore();
  expect(said).toBe('here: 0 train, 0 valid, 0 test rows, corpus.txt and README.md\n');
});

it('data build wordnet: 30,000, 1,000 and 500 rows with seed 1 unless told otherwise', async () => {
  await run('--out', 'here');
  expect(buildWordnet).toHaveBeenLastCalledWith({
    out: 'here',
    seed: 1,
    sizes: { train: 30_000, valid: 1000, test: 500 },
  });
  await run('--out', 'there', '--seed', '0', '--size', '5', '--valid', '6', '--test', '7');
  expect(buildWordnet).toHaveBeenLastCalledWith({
    out: 'there',
    seed: 0,
    sizes: { train: 5, valid: 6, test: 7 },
  });
  await run('--out', 'there', '--force');
  expect(buildWordnet).toHaveBeenLastCalledWith(expect.objectContaining({ out: 'there', force: true }));
});
