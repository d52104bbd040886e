import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The program as the published package has it: JavaScript, one file a source, beside package.json as `dist` is. */
export const compiledProgram = join(root, '.compiled/cli/main.js');

/**
 * Compiles the sources, without checking types, where they are newer than what is there. A process of it begins in half the
 * time of one that compiles as it loads, and the tests begin many.
 */
export async function compileProgram(): Promise<void> {
  const source = join(root, 'src');
  const target = join(root, '.compiled');
  for (const name of readdirSync(source, { recursive: true }).map(String)) {
    const from = join(source, name);
    const to = join(target, name.replace(/\.ts$/, '.js'));
    if (!statSync(from).isFile() || isNewer(to, from)) continue;
    mkdirSync(dirname(to), { recursive: true });
    if (name.endsWith('.ts')) writeFileSync(to, await compiled(readFileSync(from, 'utf8')));
    else cpSync(from, to);
  }
}

async function compiled(text: string): Promise<string> {
  const { default: ts } = await import('typescript'); // a second to load, and mostly there is nothing to do
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
  return ts.transpileModule(text, { compilerOptions }).outputText;
}

function isNewer(file: string, than: string): boolean {
  return existsSync(file) && statSync(file).mtimeMs > statSync(than).mtimeMs;
}
