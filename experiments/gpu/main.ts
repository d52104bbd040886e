/**
 * The one file that a pack holds (pack.ts): the program, and the checks of the CUDA engine.
 *
 *     node minillm.mjs train ...              the program
 *     node minillm.mjs gpu check [options]    all checks; what check.sh runs
 *     node minillm.mjs gpu kernels tf32       one part of them
 */
import { parts } from './parts.js';

const [first, name = '', ...rest] = process.argv.slice(2);
if (first === 'gpu') {
  const part = Object.hasOwn(parts, name) ? parts[name as keyof typeof parts] : undefined;
  if (!part) {
    process.stderr.write(`gpu ${name}: one of ${Object.keys(parts).join(', ')} expected\n`);
    process.exitCode = 2;
  } else {
    await part(rest).catch((error: Error) => {
      process.stderr.write(`gpu ${name}: ${error.message}\n`);
      process.exit(1);
    });
  }
} else {
  await import('../../src/cli/main.js');
}
