import type { Command } from 'commander';

/** Every command of the program, in the order of `--help`. A command file imports heavy modules only in its action. */
export const commands: (() => Command)[] = [];
