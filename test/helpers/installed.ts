import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { repository } from './docs.js';

interface Lock {
  packages: Record<string, { dev?: boolean; devOptional?: boolean; optional?: boolean; peer?: boolean }>;
}

/**
 * A project with nothing in it but the packed tarball, as `npm install ./minillm-rl-0.1.0.tgz` leaves it: what the package depends
 * on is linked to the checkout's copies, so that no network is asked, and what only its development needs is not there.
 */
export function installTarball(tarball: string, project: string): string {
  const modules = join(project, 'node_modules');
  const target = join(modules, 'minillm-rl');
  mkdirSync(target, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', target, '--strip-components=1']);
  const lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as Lock;
  for (const [path, { dev, devOptional }] of Object.entries(lock.packages)) {
    const name = /^node_modules\/((@[^/]+\/)?[^/]+)$/.exec(path)?.[1];
    const from = join(repository, path);
    if (!name || dev || devOptional || !existsSync(from)) continue;
    const link = join(modules, name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(from, link, 'dir');
  }
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'empty', version: '1.0.0', type: 'module', dependencies: { 'minillm-rl': '*' } }),
  );
  return target;
}
