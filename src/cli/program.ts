import { existsSync, readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { RunError, refusedByDisk, UsageError } from '../errors.js';
import { leaveBars } from '../runs/progress.js';
import { commands } from './commands/index.js';
import { localModel } from './common.js';
import { joinRanks, ranks } from './ranks.js';

const HINT = '(add --help for the options and an example)';

/**
 * Parses the arguments (without node and script), runs one command, and turns every failure into one line on standard
 * error.
 *
 * @returns the exit code: 0, 2 for bad usage or input, 1 for a failed run, 130 after Ctrl-C
 */
export async function run(args: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      // Help was asked for implicitly (no command given): commander has written it already.
      if (error.code !== 'commander.help') complain(`${error.message.replace(/^error: /, '')} ${HINT}`);
      return 2;
    }
    const line =
      refusedByDisk(error) ?? (error instanceof Error ? error.message.split('\n')[0]! : String(error));
    const code = error instanceof UsageError ? 2 : error instanceof RunError ? error.exitCode : 1;
    if (args.includes('--debug')) console.error(error);
    // After Ctrl-C all ranks have come to the same end; of any other one the others do not know.
    if (ranks().size > 1 && code !== 130) {
      leaveBars();
      const { endOfRank } = await import('../cluster/ending.js');
      endOfRank(ranks(), line, code);
    }
    if (!args.includes('--debug')) complain(line);
    return code;
  }
}

/** The whole program; every failure of parsing is thrown instead of printed, so that `run` gives it its one line. */
export function createProgram(): Command {
  const program = new Command('minillm')
    .description(
      'Distil language models by policy gradient (MiniLLM) and compare with the forward-KL family.',
    )
    .version(ownVersion(), '--version', 'the version of minillm-rl')
    .addHelpText('after', '\nExample:\n  minillm train experiments/smoke/minillm.yaml --out runs/smoke\n');
  for (const command of commands) program.addCommand(command());
  program.hook('preAction', async (_, command) => {
    await joinRanks(command);
    await resolveModelOptions(command);
  });
  for (const command of everyCommand(program)) {
    command.exitOverride().configureOutput({ outputError: () => {} });
  }
  return program;
}

/** Options that name a model; what is no directory may be an id of the Hugging Face Hub. */
const modelOptions = ['model', 'teacher', 'student', 'mixWith'] as const;

async function resolveModelOptions(command: Command): Promise<void> {
  for (const name of modelOptions) {
    const value: unknown = command.getOptionValue(name);
    if (typeof value !== 'string' || existsSync(value) || /^https?:/.test(value)) continue;
    command.setOptionValue(name, await localModel(value, command.opts()));
  }
}

function ownVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** A command and all below it. */
export function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

/** One line. It may quote a file or a server, whose control characters are nothing for a terminal. */
function complain(message: string): void {
  leaveBars();
  process.stderr.write(`minillm: ${message.replace(/\s*\p{Cc}+\s*/gu, ' ')}\n`);
}
