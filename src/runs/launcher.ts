import { UsageError } from '../errors.js';
import { which } from '../tensor/provision/process.js';

/**
 * The words of a command prefix such as `srun -n1 --exclusive`. Quotes and backslashes are read as a shell reads them; nothing
 * is expanded, for no shell runs it.
 *
 * @throws UsageError for an open quote, and where there is no word
 */
export function launcherWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    const escapes = char === '\\' && i + 1 < text.length && (quote === '' || /["\\]/.test(text[i + 1]!));
    if (escapes && quote !== "'") word = (word ?? '') + text[++i]!;
    else if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) {
      quote = char;
      word ??= ''; // '' is a word
    } else if (quote === '' && /\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + char;
  }
  if (quote !== '') throw new UsageError(`--launcher: ${text}: a ${quote} is not closed`);
  if (word !== undefined) words.push(word);
  if (!words[0])
    throw new UsageError('--launcher: expected a command that starts what follows it, as "srun -n1"');
  return words;
}

/** @throws UsageError when the first word is no program that can be started from here */
export function checkLauncher([program]: readonly string[]): void {
  if (which(program!)) return;
  throw new UsageError(
    `--launcher: ${program} ${program!.includes('/') ? 'is no program that can be started' : 'is not on the PATH'}; give a command that starts what follows it, as "srun -n1"`,
  );
}
