import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

describe('the quickstart', () => {
  it('has the tables in the README that npm run experiments -- quickstart wrote', () => {
    const written = readFileSync(join(root, 'experiments/quickstart/results/table.md'), 'utf8');
    const tables = written.trimEnd().split('\n\n');
    expect(tables).toHaveLength(2);
    expect(tables[0]!.split('\n').map((line) => line.split(' | ')[0])).toEqual([
      ...['| ', '| ---', '| teacher', '| sft', '| kd', '| babyllama', '| minillm'],
    ]);
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    for (const table of tables) expect(readme).toContain(`\n\n${table}\n\n`);
  });
});
