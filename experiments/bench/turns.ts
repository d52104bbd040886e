/** Pieces of work that take turns in one process, and how their times compare. */
import { median } from '../../src/bench/measure.js';

/** What one run took; `cpu_s` is the processor time of all threads and processes at work. */
export interface Turn {
  seconds: number;
  cpu_s: number;
}

/** Runs the work of every side in turn; the first round warms up and does not count. */
export async function takeTurns<Name extends string>(
  sides: Record<Name, () => Promise<Turn>>,
  rounds: number,
): Promise<Record<Name, Turn[]>> {
  const names = Object.keys(sides) as Name[];
  const turns = Object.fromEntries(names.map((name) => [name, [] as Turn[]])) as Record<Name, Turn[]>;
  for (let i = 0; i <= rounds; i++) {
    for (const name of names) {
      const turn = await sides[name]();
      if (i > 0) turns[name].push(turn);
    }
  }
  return turns;
}

export async function clocked(work: () => unknown): Promise<Turn> {
  const [from, cpu] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - from) / 1000, cpu_s: (user + system) / 1e6 };
}

export interface Row {
  technique: string;
  what: string;
  /** Our time over that of the alternative: above 1 the alternative is faster. Medians of the ratios of a turn. */
  speedup: number;
  /** Smallest and largest ratio of one turn. */
  speedup_range: [number, number];
  /** The same of processor time, which says more on a machine with other work. */
  cpu_speedup: number;
  /** Medians. */
  ours_s: number;
  theirs_s: number;
  turns: number;
  /** What else is worth telling of this row. */
  notes: Record<string, number | string>;
}

export function rowOf(
  technique: string,
  what: string,
  ours: readonly Turn[],
  theirs: readonly Turn[],
  notes: Row['notes'],
): Row {
  const ratios = ours.map(({ seconds }, i) => seconds / theirs[i]!.seconds);
  return {
    technique,
    what,
    speedup: median(ratios),
    speedup_range: [Math.min(...ratios), Math.max(...ratios)],
    cpu_speedup: median(ours.map(({ cpu_s }, i) => cpu_s / theirs[i]!.cpu_s)),
    ours_s: median(ours.map((t) => t.seconds)),
    theirs_s: median(theirs.map((t) => t.seconds)),
    turns: ours.length,
    notes,
  };
}
