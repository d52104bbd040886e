import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { dropClaim } from './claim.js';
import { LAUNCH } from './processIdentity.js';

/*
 * A program of its own, which stands between a sweep and the launcher of one run. The channel by which a run notices that its
 * sweep is gone (cli/main.ts) does not reach another machine; it ends here, and here it becomes SIGTERM to the launcher.
 */

/** What the sweep sends, once it has noted the number of this process: from then on nothing runs that nobody knows of. */
export interface LaunchOrder {
  command: string[];
  /** The file by which the run claims its directory. */
  claim?: string;
}

process.once('message', ({ command: [program, ...args], claim }: LaunchOrder) => {
  const launch = randomUUID();
  const child = spawn(program!, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, [LAUNCH]: launch },
  });
  const stop = (): void => void child.kill('SIGTERM');
  process.on('SIGTERM', stop);
  process.on('disconnect', stop);
  child.on('error', ({ message }) => end(`${program}: cannot be started (${message})`));
  child.on('exit', (code, signal) => {
    // One that was killed may have left its run behind, and then the claim is right.
    if (code === null) end(`${program}: ended by ${signal}; the run that it started may still be there`);
    if (claim) dropClaim(claim, launch);
    process.exit(code);
  });
});
process.once('disconnect', () => {
  if (process.listenerCount('SIGTERM') === 0) process.exit(1);
});

function end(line: string): never {
  process.stderr.write(`minillm: ${line}\n`);
  process.exit(1);
}
