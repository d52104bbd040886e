/** Runs the command alone, as `minillm report ARGUMENTS` does. */
import { reportCommand } from '../../src/cli/commands/report.js';

await reportCommand().parseAsync(process.argv.slice(2), { from: 'user' });
