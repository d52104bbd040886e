#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { RunError, UsageError } from '../errors.js';
import { commands } from './commands/index.js';

/** Parses, runs one command, and turns every failure into one line and an exit code (2 usage, 1 failed, 130 Ctrl-C). */
async function main(argv: string[]): Promise<number> {
  const program = new Command('minillm')
    .description('Distil language models by policy gradient (MiniLLM) and compare with the forward-KL family.')
    .showHelpAfterError('(add --help for the options and an example)')
    .exitOverride();
  for (const command of commands) program.addCommand(command());
  for (const command of [program, ...program.commands, ...program.commands.flatMap((c) => c.commands)]) command.exitOverride();
  try {
    await program.parseAsync(argv);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (argv.includes('--debug')) console.error(error);
    else process.stderr.write(`minillm: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}\n`);
    return error instanceof UsageError ? 2 : error instanceof RunError ? error.exitCode : 1;
  }
}

// A reader that stops early (`| head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
process.exitCode = await main(process.argv);
