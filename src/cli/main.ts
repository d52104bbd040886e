#!/usr/bin/env node
import { run } from './program.js';

// A reader that stops early (`| head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.stderr.write(
    `minillm: standard output cannot be written (${error.code}); what was computed is in the files that the command names\n`,
  );
  process.exit(1);
});
// Nobody reads the log any more (a sweep was killed, a terminal closed): no reason to lose what is being computed.
process.stderr.on('error', () => {});
// A run that a sweep or the quickstart began, and that outlives it (kill -9): it saves and stops as after Ctrl-C.
if (process.channel) {
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel.unref();
}
process.exitCode = await run(process.argv.slice(2));
