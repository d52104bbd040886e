/** Where progress is drawn: standard error, or a stand-in. */
export interface ProgressStream {
  isTTY?: boolean | undefined;
  columns?: number | undefined;
  write(text: string): unknown;
}

export interface ProgressOptions {
  /** What is being done, e.g. `minillm`. */
  label: string;
  /** How many units there are in all; the bar and the remaining time are left out without it. */
  total?: number;
  /** Units that were done before this process began (a resumed run): they count in the bar, not in the rate. */
  done?: number;
  /** Name of a unit, e.g. `step` (default). */
  unit?: string;
  /** Seconds between plain lines where there is no terminal (default 10). */
  everySeconds?: number;
  quiet?: boolean;
  /** Default: standard error. */
  stream?: ProgressStream;
  /** Milliseconds since any fixed moment, for tests. */
  now?: () => number;
}

/** Live progress: one redrawn line on a terminal, a plain line now and then elsewhere, nothing when quiet. */
export interface Progress {
  /** `done` units are finished; `numbers` are the two or three values worth watching, shown in their order. */
  update(done: number, numbers?: Readonly<Record<string, number | string>>): void;
  /** A line of its own that stays, above the bar. */
  note(line: string): void;
  /** Shows the last state once more and leaves the line. */
  finish(): void;
}

/** A terminal is redrawn at most this often: faster is not seen, and costs time over a slow connection. */
const redrawMilliseconds = 100;
/** The rate is that of the last updates, so that a slow first step does not spoil the estimate for long. */
const rateWindow = 40;

/** 75 -> `1:15`, 3675 -> `1:01:15`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, i) => (i === 0 ? String(part) : String(part).padStart(2, '0'))).join(':');
}

/** Three or four significant digits, never an exponent where a plain number is as short. */
function formatNumber(value: number | string): string {
  if (typeof value === 'string') return value;
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  return size >= 1000
    ? value.toFixed(0)
    : size >= 0.001
      ? String(Number(value.toPrecision(3)))
      : value.toPrecision(3);
}

export function createProgress(options: ProgressOptions): Progress {
  if (options.quiet) return { update() {}, note() {}, finish() {} };
  const { label, total, unit = 'step', everySeconds = 10, stream = process.stderr, now = Date.now } = options;
  const terminal = stream.isTTY === true;
  const interval = terminal ? redrawMilliseconds : everySeconds * 1000;
  const history: { at: number; done: number }[] = [{ at: now(), done: options.done ?? 0 }];
  let numbers: Readonly<Record<string, number | string>> = {};
  let drawnAt = Number.NEGATIVE_INFINITY;
  let drawn = false;
  let stale = false;

  const text = (): string => {
    const first = history[0]!;
    const { at, done } = history.at(-1)!;
    const rate = at > first.at ? ((done - first.done) * 1000) / (at - first.at) : 0;
    const parts = [total === undefined ? `${done} ${unit}s` : `${done}/${total}`];
    // A slow unit is told as seconds a unit: "0.02 steps/s" means nothing to anybody.
    if (rate > 0)
      parts.push(rate >= 1 ? `${formatNumber(rate)} ${unit}s/s` : `${formatNumber(1 / rate)} s/${unit}`);
    if (rate > 0 && total !== undefined && done < total)
      parts.push(`${formatDuration((total - done) / rate)} left`);
    for (const [name, value] of Object.entries(numbers)) parts.push(`${name} ${formatNumber(value)}`);
    return parts.join('  ');
  };

  const bar = (): string => {
    if (total === undefined || total <= 0) return '';
    const width = 20;
    const filled = Math.max(0, Math.min(width, Math.floor((history.at(-1)!.done / total) * width)));
    return `${'█'.repeat(filled)}${'░'.repeat(width - filled)} `;
  };

  const draw = (): void => {
    // One column is left free: a line as wide as the terminal wraps, and could not be drawn over.
    if (terminal)
      stream.write(`\r\x1b[2K${`${label} ${bar()}${text()}`.slice(0, (stream.columns ?? 80) - 1)}`);
    else stream.write(`${label} ${text()}\n`);
    drawnAt = now();
    drawn = true;
    stale = false;
  };

  return {
    update(done, values = numbers) {
      history.push({ at: now(), done });
      if (history.length > rateWindow) history.shift();
      numbers = values;
      stale = true;
      if (now() - drawnAt >= interval) draw();
    },
    note(line) {
      stream.write(terminal && drawn ? `\r\x1b[2K${line}\n` : `${line}\n`);
      if (terminal && drawn) draw();
    },
    finish() {
      if (stale) draw();
      if (terminal && drawn) stream.write('\n');
      drawn = false;
    },
  };
}
