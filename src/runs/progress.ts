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
  /** Units after which the work repeats, such as the steps of a round (default 1): the rate is that of whole periods. */
  period?: number;
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
  /** Milliseconds that went into something else, such as a validation: they are no part of the rate. */
  exclude(milliseconds: number): void;
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

/** What stands on a terminal now: lines of others go above it (`writeAbove`). */
const bars = new Map<ProgressStream, Progress>();

/** A line that stays: above the bar where one is drawn on the stream, so that neither is written into the other. */
export function writeAbove(line: string, stream: ProgressStream = process.stderr): void {
  const bar = bars.get(stream);
  if (bar) bar.note(line);
  else stream.write(`${line}\n`);
}

/** Ends every bar that is drawn, so that what follows begins on a line of its own. */
export function leaveBars(): void {
  for (const bar of [...bars.values()]) bar.finish();
}

/** A process that ends in the middle of its work leaves the shell a line of its own. */
let leavesAtExit = false;

export function createProgress(options: ProgressOptions): Progress {
  if (options.quiet) return { update() {}, note() {}, exclude() {}, finish() {} };
  const { label, total, unit = 'step', everySeconds = 10, stream = process.stderr, now = Date.now } = options;
  const terminal = stream.isTTY === true;
  const interval = terminal ? redrawMilliseconds : everySeconds * 1000;
  const {
    rate: currentRate,
    add,
    shift,
    done: finished,
  } = rateMeter(now(), options.done ?? 0, options.period);
  let numbers: Readonly<Record<string, number | string>> = {};
  let drawnAt = Number.NEGATIVE_INFINITY;
  let drawn = false;
  let stale = false;

  const parts = (): string[] => {
    const done = finished();
    const rate = currentRate();
    const shown = [total === undefined ? `${done} ${unit}s` : `${done}/${total}`];
    // A slow unit is told as seconds a unit: "0.02 steps/s" means nothing to anybody.
    if (rate > 0)
      shown.push(rate >= 1 ? `${formatNumber(rate)} ${unit}s/s` : `${formatNumber(1 / rate)} s/${unit}`);
    if (rate > 0 && total !== undefined && done < total)
      shown.push(`${formatDuration((total - done) / rate)} left`);
    for (const [name, value] of Object.entries(numbers)) shown.push(`${name} ${formatNumber(value)}`);
    return shown;
  };

  const bar = (): string => {
    if (total === undefined || total <= 0) return '';
    const width = 20;
    const filled = Math.max(0, Math.min(width, Math.floor((finished() / total) * width)));
    return `${'█'.repeat(filled)}${'░'.repeat(width - filled)} `;
  };

  const draw = (): void => {
    if (terminal) {
      // 0 columns, as some terminals say, and none at all mean: unknown.
      stream.write(`\r\x1b[2K${fitted(`${label} `, bar(), parts(), stream.columns || 80)}`);
      bars.set(stream, progress);
      if (!leavesAtExit) process.once('exit', leaveBars);
      leavesAtExit = true;
    } else stream.write(`${label} ${parts().join('  ')}\n`);
    drawnAt = now();
    drawn = true;
    stale = false;
  };

  const progress: Progress = {
    update(done, values = numbers) {
      add(now(), done);
      numbers = values;
      stale = true;
      if (now() - drawnAt >= interval) draw();
    },
    note(line) {
      stream.write(terminal && drawn ? `\r\x1b[2K${line}\n` : `${line}\n`);
      if (terminal && drawn) draw();
    },
    exclude: shift,
    finish() {
      if (stale) draw();
      if (terminal && drawn) stream.write('\n');
      if (bars.get(stream) === progress) bars.delete(stream);
      drawn = false;
    },
  };
  return progress;
}

/** As many whole parts as the terminal is wide. One column stays free: a full line wraps, and could not be drawn over. */
function fitted(label: string, bar: string, parts: readonly string[], columns: number): string {
  const room = columns - 1;
  const line = (count: number): string => `${label}${bar}${parts.slice(0, count).join('  ')}`;
  for (let count = parts.length; count > 0; count--) if (line(count).length <= room) return line(count);
  return `${label}${parts[0]}`.slice(0, room);
}

/**
 * Units a second over the last updates. The first unit warms up (memory, kernels, caches) and may take ten times as long as
 * those that follow: it is left out. Where a period begins with work for all of it (the sampling of a round), only whole
 * periods tell the rate, and the first counts as long as it is the only one.
 */
function rateMeter(start: number, done: number, period = 1) {
  const marks = [{ at: start, done }];
  let first = true;
  const window = Math.max(rateWindow, 2 * period + 1);
  return {
    done: () => marks.at(-1)!.done,
    add(at: number, finished: number): void {
      marks.push({ at, done: finished });
      if (marks.length > window) {
        marks.shift();
        first = false;
      }
    },
    shift(milliseconds: number): void {
      for (const mark of marks) mark.at += milliseconds;
    },
    rate(): number {
      const last = marks.at(-1)!;
      const whole = marks.filter((mark) => mark.done < last.done && (last.done - mark.done) % period === 0);
      const warm = whole.filter((mark) => !(first && mark === marks[0]));
      const from = warm[0] ?? (period > 1 ? whole[0] : undefined);
      return from && last.at > from.at ? ((last.done - from.done) * 1000) / (last.at - from.at) : 0;
    },
  };
}
