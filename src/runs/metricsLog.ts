import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { syncDirectory, writeAtomicallySync } from '../durable.js';
import { UsageError } from '../errors.js';

/** What a metric may be. A number that is not finite is written as null and named in `_nonfinite`. */
export type MetricValue = number | string | boolean | null;

/** One line of metrics.jsonl: an optimizer step or an evaluation. */
export interface MetricsRow {
  /** Optimizer step of the run, from 1; an evaluation carries the step it was made after. */
  step: number;
  round: number;
  phase: string;
  /** Seconds since the run began: the one field that differs between two runs of the same seed. */
  wall_s: number;
  [metric: string]: MetricValue;
}

/**
 * The append-only record of a run. A line is in the file (in the kernel's hands, so SIGKILL cannot lose it) when
 * `write` returns; a loss of power cannot lose it after `sync`.
 *
 * For a resumed run to have the same file as an uninterrupted one, all rows of step s (its evaluation included) must
 * be written and synced BEFORE the checkpoint of step s, and the log opened with that step.
 */
export interface MetricsLog {
  write(row: MetricsRow): void;
  sync(): void;
  close(): void;
}

/**
 * Opens metrics.jsonl for appending.
 *
 * @param options.resumeAtStep step of the checkpoint the run goes on from: rows of later steps and a torn last line
 *   are dropped first, in one atomic replacement. Without it the file must not exist yet or be empty.
 * @param options.unvalidated the validation of that step is made again: its row is dropped too
 * @throws UsageError if a complete line is not a metrics row, or a file with rows is opened without `resumeAtStep`.
 */
export function openMetricsLog(
  file: string,
  options: { resumeAtStep?: number; unvalidated?: boolean } = {},
): MetricsLog {
  const { resumeAtStep, unvalidated = false } = options;
  if (resumeAtStep !== undefined) truncateMetrics(file, resumeAtStep, unvalidated);
  else if (existsSync(file) && readFileSync(file).length > 0) {
    throw new UsageError(
      `${file}: already has metrics of another run; expected a new run directory, or --resume`,
    );
  }
  const fd = openSync(file, 'a');
  syncDirectory(dirname(file));
  return {
    write(row) {
      writeFileSync(fd, `${metricsLine(row)}\n`); // all of it: on a full disk writeSync may write a part and say nothing
    },
    sync: () => fsyncSync(fd),
    close() {
      fsyncSync(fd);
      closeSync(fd);
    },
  };
}

/** A row as one line of JSON: `step`, `round`, `phase`, `wall_s` first, then the metrics in the order given. */
export function metricsLine(row: MetricsRow): string {
  const { step, round, phase, wall_s, ...metrics } = row;
  const nonfinite = Object.keys(row).filter(
    (name) => typeof row[name] === 'number' && !Number.isFinite(row[name]),
  );
  // JSON has no NaN and no infinity: JSON.stringify itself writes null, and the names say which nulls were numbers.
  return JSON.stringify({
    step,
    round,
    phase,
    wall_s,
    ...metrics,
    ...(nonfinite.length > 0 && { _nonfinite: nonfinite }),
  });
}

/** The rows of a metrics.jsonl; a last line without a line end, torn by a kill, is left out, and what a loss of power left. */
export function readMetrics(file: string): MetricsRow[] {
  return completeLines(file).map((line, i) => parseRow(line, `${file}, line ${i + 1}`));
}

function completeLines(file: string): string[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'utf8');
  // Where a file had grown and its bytes did not reach the disk, file systems give NULs; later lines may follow them.
  const end = text.indexOf('\0');
  return text
    .slice(0, end < 0 ? undefined : end)
    .split('\n')
    .slice(0, -1);
}

function parseRow(line: string, where: string): MetricsRow {
  try {
    const row: unknown = JSON.parse(line);
    if (typeof row === 'object' && row !== null && 'step' in row && Number.isInteger(row.step))
      return row as MetricsRow;
  } catch {
    // Reported below, like every other line that is no row.
  }
  const shown = JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}…` : line);
  throw new UsageError(`${where}: expected a JSON object with a whole number "step", got ${shown}`);
}

function truncateMetrics(file: string, at: number, unvalidated: boolean): void {
  if (!existsSync(file)) return;
  const kept = completeLines(file).filter((line, i) => {
    const { step, phase } = parseRow(line, `${file}, line ${i + 1}`);
    return step <= at && !(unvalidated && step === at && phase === 'valid');
  });
  writeAtomicallySync(file, kept.map((line) => `${line}\n`).join(''));
}
