import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process, named so that a later one with the same number is not taken for it. */
interface Identity {
  pid: number;
  host?: string;
  /** Of the kernel's start: all that ran before it has ended. */
  boot?: string;
  /** When the process began, in the kernel's own count. */
  started?: string;
  /** By which launch of a sweep it came to be (launchKeeper.ts). */
  launch?: string;
}

/** The variable that tells a process its launch. */
export const LAUNCH = 'MINILLM_LAUNCH';

/** `ended`: certainly gone, or never a process; `elsewhere`: on a machine (or in a container) that cannot be seen from here. */
export type Whereabouts = 'running' | 'ended' | 'elsewhere';

/** A line for a file that names a process; Linux gives boot and start, elsewhere the number has to do. */
export function identityOf(pid: number): string {
  const { started } = statOf(pid) ?? {};
  const launch = pid === process.pid ? process.env[LAUNCH] : undefined;
  const identity: Identity = {
    ...{ pid, host: hostname(), ...bootOf() },
    ...(started && { started }),
    ...(launch && { launch }),
  };
  return `${JSON.stringify(identity)}\n`;
}

/** What has become of the process that a file names. A text that names none (empty, torn, of a disk that lost it) is nobody's. */
export function whereabouts(text: string): { pid: number; host: string | undefined; now: Whereabouts } {
  const { pid, host, boot, started } = parse(text);
  const now = ((): Whereabouts => {
    if (!(Number.isInteger(pid) && pid > 0)) return 'ended';
    if (host !== undefined && host !== hostname()) return 'elsewhere';
    if (boot !== undefined && boot !== bootOf().boot) return 'ended';
    if (!exists(pid)) return 'ended';
    const stat = statOf(pid);
    if (stat && (stat.state === 'Z' || stat.state === 'X')) return 'ended';
    if (stat && started !== undefined && stat.started !== started) return 'ended';
    // A bare number, written before the rest was: that it is ours is chance.
    if (pid === process.pid && started === undefined) return 'ended';
    return 'running';
  })();
  return { pid, host, now };
}

/** The launch that the process named by a file came from; undefined where it came from none. */
export function launchIn(text: string): string | undefined {
  return parse(text).launch;
}

function parse(text: string): Identity {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'number') return { pid: value };
    if (typeof value === 'object' && value !== null) return value as Identity;
  } catch {
    // Nobody's, as below.
  }
  return { pid: 0 };
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'; // another user's
  }
}

function bootOf(): { boot?: string } {
  const boot = textOf('/proc/sys/kernel/random/boot_id')?.trim();
  return boot ? { boot } : {};
}

/** Fields 3 and 22 of /proc/PID/stat; the second one, the name, may hold spaces and brackets. */
function statOf(pid: number): { state: string; started: string } | undefined {
  const text = textOf(`/proc/${pid}/stat`);
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields && fields.length > 19 ? { state: fields[0]!, started: fields[19]! } : undefined;
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
