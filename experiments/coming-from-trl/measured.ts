/** A process, how much memory it had at most, and how much processor time it took. */
import { spawn } from 'node:child_process';
import { createWriteStream, readFileSync } from 'node:fs';

export interface Measured {
  peak_rss_mb: number;
  cpu_s: number;
  wall_s: number;
}

/** Ticks of /proc/PID/stat in a second, on every Linux that Node runs on. */
const TICKS = 100;

/**
 * Runs a program to its end. Both sides are looked at from outside, in the same way: VmHWM and the times of /proc/PID, ten times a
 * second, so that what the last tenth of a second adds is missed.
 *
 * @param log file for what it prints
 * @throws Error with its last line when it fails
 */
export function measure(
  program: string,
  args: readonly string[],
  env: object,
  log: string,
): Promise<Measured> {
  return new Promise((done, fail) => {
    const from = performance.now();
    const out = createWriteStream(log);
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.pipe(out, { end: false });
    child.stderr.pipe(out, { end: false });
    let last = { peak_rss_mb: 0, cpu_s: 0 };
    const watch = setInterval(() => {
      last = lookAt(child.pid) ?? last;
    }, 100);
    child.on('error', (error) => {
      clearInterval(watch);
      fail(error);
    });
    child.on('close', (code) => {
      clearInterval(watch);
      out.end();
      if (code === 0) return done({ ...last, wall_s: (performance.now() - from) / 1000 });
      fail(new Error(`${[program, ...args].join(' ')}: exit code ${code}; what it printed is in ${log}`));
    });
  });
}

function lookAt(pid: number | undefined): Omit<Measured, 'wall_s'> | undefined {
  try {
    const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    // Fields 14 and 15, user and system time; the second one, the name in brackets, may hold spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
    if (!peak) return undefined;
    return {
      peak_rss_mb: Math.round(Number(peak[1]) / 1024),
      cpu_s: (Number(fields[11]) + Number(fields[12])) / TICKS,
    };
  } catch {
    return undefined;
  }
}
