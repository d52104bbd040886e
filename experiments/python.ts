/** Python for the experiments that compare with a program of its world. */
import { spawnSync } from 'node:child_process';

/** The interpreter that is asked: PYTHON of the environment, else python3. */
export const pythonProgram = (): string => process.env.PYTHON ?? 'python3';

/** Versions of modules. @throws Error in one line where the interpreter or a module is not there */
export function moduleVersions(program: string, modules: readonly string[]): Record<string, string> {
  const code = `import json, importlib, platform; print(json.dumps({"python": platform.python_version(), **{m: importlib.import_module(m).__version__ for m in ${JSON.stringify(modules)}}}))`;
  const { status, stdout, stderr, error } = spawnSync(program, ['-c', code], { encoding: 'utf8' });
  if (status === 0) return JSON.parse(stdout);
  const why = error ? error.message : stderr.trim().split('\n').at(-1);
  throw new Error(
    `needs a Python with ${modules.join(', ')} (${program}: ${why}); PYTHON=PROGRAM names another`,
  );
}
