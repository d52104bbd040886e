import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { codeBlocks, repository } from './helpers/docs.js';
import { installTarball } from './helpers/installed.js';
import { temporaryFolder } from './helpers/temporary.js';

const MINUTES = 60_000;

function run(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error ?? ''}\n${stdout}\n${stderr}`);
  return stdout + stderr;
}

const missing = ['npm', 'tar'].find((tool) => spawnSync(tool, ['--version']).status !== 0);

describe.skipIf(missing)(
  `the packed tarball in an empty project${missing ? ` (no ${missing} here)` : ''}`,
  () => {
    const project = temporaryFolder('installed');
    let installed: string;
    beforeAll(() => {
      // Scripts are off in this checkout (.npmrc), so packing does not build by itself.
      run('npm', ['run', 'build'], repository);
      run('npm', ['pack', '--silent', '--pack-destination', project], repository);
      const [tarball] = readdirSync(project).filter((name) => name.endsWith('.tgz'));
      installed = installTarball(join(project, tarball!), project);
    }, 10 * MINUTES);

    it('has the program, the pages and the example, and no sources, tests or API pages', () => {
      for (const name of ['dist/index.d.ts', 'docs/library.md', 'experiments/smoke/minillm.yaml', 'LICENSE'])
        expect(existsSync(join(installed, name)), name).toBe(true);
      const top = readdirSync(installed).sort();
      expect(top).toEqual(
        [
          'LICENSE',
          'README.md',
          'THIRD_PARTY_NOTICES.md',
          'dist',
          'docs',
          'experiments',
          'package.json',
        ].sort(),
      );
      expect(readdirSync(join(installed, 'dist'))).not.toContain('api');
      expect(readdirSync(installed, { recursive: true }).map(String)).not.toContain('docs/api');
    });

    it(
      'the blocks of docs/library.md compile under strict, libraries checked, and the step runs',
      () => {
        for (const [i, block] of codeBlocks('library.md', 'ts').entries())
          writeFileSync(join(project, `block${i}.ts`), block);
        const compilerOptions = { strict: true, module: 'NodeNext', target: 'ES2022', skipLibCheck: false };
        writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
        run(process.execPath, [join(repository, 'node_modules/typescript/bin/tsc'), '-p', '.'], project);
        expect(run(process.execPath, ['block0.js'], project)).toMatch(/loss -?\d+\.\d+, gradient norm \d/);
        expect(existsSync(join(project, 'stepped/model.safetensors'))).toBe(true);
      },
      5 * MINUTES,
    );

    it(
      'the program trains on the example configuration',
      () => {
        const example = 'node_modules/minillm-rl/experiments/smoke/minillm.yaml';
        const sets = ['train.steps=2', 'train.warmup=0', 'eval.prompts=4'].flatMap((set) => ['--set', set]);
        const program = join(installed, 'dist/cli/main.js');
        const out = run(process.execPath, [program, 'train', example, ...sets, '--out', 'run'], project);
        expect(out).toContain('student in ');
        expect(existsSync(join(project, 'run/final/model.safetensors'))).toBe(true);
      },
      5 * MINUTES,
    );
  },
);
