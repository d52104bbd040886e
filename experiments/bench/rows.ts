/** From the times of the processes to the rows of the table. */
import { median } from '../../src/bench/measure.js';
import { markdownTable } from './markdown.js';
import type { Timing } from './processes.js';
import type { Workload } from './workloads.js';

export interface Row {
  workload: string;
  what: string;
  /** The allocator of their process. */
  allocator: 'default' | 'tcmalloc';
  target: number;
  /** Ratio of the medians over the alternations, our time over theirs. */
  ratio: number;
  /** Smallest and largest ratio of one alternation. */
  ratio_min: number;
  ratio_max: number;
  /** Medians over the alternations, each the median of the process's repeats; with the quickest and slowest repeat of all. */
  ours_s: [median: number, min: number, max: number];
  theirs_s: [median: number, min: number, max: number];
  /** Median peak resident sets in 10^6 bytes. */
  ours_mb?: number;
  theirs_mb?: number;
  memory_target?: number;
}

/** Times of every side of a workload, one an alternation. A side of theirs with tcmalloc has `+tcmalloc` behind its name. */
export type Timings = Record<string, Timing[]>;
export const TCMALLOC = '+tcmalloc';

export function rowsOf(workload: Workload, timings: Timings): Row[] {
  return workload.rows.flatMap((row) =>
    (['default', 'tcmalloc'] as const).flatMap((allocator): Row[] => {
      const ours = timings[row.ours]!;
      const theirs = timings[allocator === 'default' ? row.theirs : row.theirs + TCMALLOC];
      if (!theirs) return [];
      const ratios = ours.map(({ seconds }, i) => seconds / theirs[i]!.seconds);
      const [oursS, theirsS] = [spread(ours), spread(theirs)];
      const [oursMb, theirsMb] = [memory(ours), memory(theirs)];
      return [
        {
          workload: workload.name,
          what: row.what,
          allocator,
          target: row.target,
          ratio: oursS[0] / theirsS[0],
          ratio_min: Math.min(...ratios),
          ratio_max: Math.max(...ratios),
          ours_s: oursS,
          theirs_s: theirsS,
          ...(oursMb !== undefined && { ours_mb: oursMb }),
          ...(theirsMb !== undefined && { theirs_mb: theirsMb }),
          ...(row.memoryTarget !== undefined && { memory_target: row.memoryTarget }),
        },
      ];
    }),
  );
}

function spread(timings: readonly Timing[]): [number, number, number] {
  return [
    median(timings.map((t) => t.seconds)),
    Math.min(...timings.map((t) => t.min_s)),
    Math.max(...timings.map((t) => t.max_s)),
  ];
}

function memory(timings: readonly Timing[]): number | undefined {
  const all = timings.flatMap(({ peak_rss_mb }) => (peak_rss_mb === undefined ? [] : [peak_rss_mb]));
  return all.length > 0 ? median(all) : undefined;
}

/** Whether a row reaches its targets; both where it has one for memory. */
export function met(row: Row): boolean {
  const memoryRatio = row.ours_mb! / row.theirs_mb!;
  return row.ratio <= row.target && (row.memory_target === undefined || memoryRatio <= row.memory_target);
}

/** Markdown: the rows against the default allocator with their targets, those against tcmalloc beside them. */
export function table(rows: readonly Row[]): string {
  const ms = ([m, low, high]: Row['ours_s']): string => {
    const unit = m < 1 ? 1000 : 1;
    const digits = (x: number): string => (x * unit).toFixed(unit === 1 ? 2 : x < 0.1 ? 1 : 0);
    return `${digits(m)} (${digits(low)}–${digits(high)}) ${unit === 1 ? 's' : 'ms'}`;
  };
  const mb = (row: Row): string =>
    row.ours_mb === undefined ? '' : `${Math.round(row.ours_mb)} / ${Math.round(row.theirs_mb!)}`;
  const lines = rows
    .filter((row) => row.allocator === 'default')
    .map((row) => {
      const other = rows.find(
        (r) => r.allocator === 'tcmalloc' && r.workload === row.workload && r.what === row.what,
      );
      const memoryTarget =
        row.memory_target === undefined ? '' : `, memory ≤ ${row.memory_target.toFixed(1)}`;
      return [
        row.what,
        `**${row.ratio.toFixed(2)}** (${row.ratio_min.toFixed(2)}–${row.ratio_max.toFixed(2)})`,
        `≤ ${row.target}${memoryTarget}${met(row) ? '' : ', not met'}`,
        ms(row.ours_s),
        ms(row.theirs_s),
        other ? other.ratio.toFixed(2) : '',
        mb(row),
      ];
    });
  const head = [
    'work',
    'ours / theirs',
    'target',
    'ours',
    'PyTorch',
    'with tcmalloc',
    'peak memory, MB, ours / theirs',
  ];
  return markdownTable(head, lines, [0, 2]);
}
