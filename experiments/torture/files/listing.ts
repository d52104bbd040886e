import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Watches the directory of the campaign for anything that comes, goes or changes where nothing may. The damaged files themselves
 * (`targets/N/`) change, but no file may come or go there; `targets/N/out` is where a reader may write.
 */
export class Listing {
  private before: Map<string, string>;

  constructor(private readonly root: string) {
    this.before = this.list();
  }

  /** What changed since the last look. */
  changes(): string[] {
    const [old, now] = [this.before, this.list()];
    this.before = now;
    const names = (from: Map<string, string>, to: Map<string, string>): string[] =>
      [...from.keys()].filter((name) => !to.has(name));
    return [
      ...names(now, old).map((name) => `wrote ${name}`),
      ...names(old, now).map((name) => `deleted ${name}`),
      ...[...now]
        .filter(([name, mark]) => old.has(name) && old.get(name) !== mark)
        .map(([name]) => `changed ${name}`),
    ];
  }

  private list(): Map<string, string> {
    const found = new Map<string, string>();
    const visit = (directory: string): void => {
      for (const name of readdirSync(join(this.root, directory))) {
        const path = join(directory, name);
        // The loader of TypeScript keeps what it compiled.
        if (path === 'progress' || path.startsWith('tmp/tsx') || /^targets\/\d+\/(again\/)?out$/.test(path))
          continue;
        const stat = lstatSync(join(this.root, path));
        if (stat.isDirectory()) visit(path);
        const mark = stat.isDirectory() || path.startsWith('targets') ? '' : `${stat.size} ${stat.mtimeMs}`;
        found.set(path, mark);
      }
    };
    visit('');
    return found;
  }
}
