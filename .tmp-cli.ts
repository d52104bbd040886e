import { Command } from 'commander';
import { doctorCommand } from './src/cli/commands/doctor.ts';
import { setupCommand } from './src/cli/commands/setup.ts';
await new Command().addCommand(doctorCommand()).addCommand(setupCommand()).parseAsync(process.argv);
