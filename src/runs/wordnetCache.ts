import { createHash } from 'node:crypto';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { buildWordnet, type WordnetOptions, wordnetFormat } from '../data/wordnet-build.js';
import { defaultCacheDir } from '../tensor/provision/paths.js';
import { writeDirectoryAtomic } from './atomic.js';

/**
 * The embedded WordNet instruction set with the given sizes and seed: built on first use, kept in the user's cache
 * under a name that says what made it, and read from there afterwards.
 */
export async function wordnetDirectory(
  options: { train_rows: number; valid_rows: number; test_rows: number; seed: number },
  log: (line: string) => void,
): Promise<string> {
  const name = createHash('sha256')
    .update(JSON.stringify([wordnetFormat, options]))
    .digest('hex')
    .slice(0, 16);
  const directory = join(defaultCacheDir(), `wordnet-${name}`);
  const built = await access(join(directory, 'train.jsonl')).then(
    () => true,
    () => false,
  );
  if (!built) {
    log(`building the WordNet instruction set (${options.train_rows} rows)`);
    const sizes: WordnetOptions['sizes'] = {
      train: options.train_rows,
      valid: options.valid_rows,
      test: options.test_rows,
    };
    await writeDirectoryAtomic(
      directory,
      async (out) => void buildWordnet({ out, seed: options.seed, sizes }),
    );
  }
  return directory;
}
