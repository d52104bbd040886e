/** What the comparison says, as Markdown. */
import { median } from '../../src/bench/measure.js';
import type { Measured } from './measured.js';

export interface Side {
  name: string;
  /** Of the configuration or the script, without its ending. */
  file: string;
  data: 'prompts' | 'messages';
  trl: boolean;
  /** Further arguments. */
  more: readonly string[];
  /** The side of ours that it is set beside. */
  beside: string;
}

/** In the order in which they take turns. */
export const sides: readonly Side[] = [
  side('ours-minillm', 'minillm', 'ours-minillm'),
  side('trl-minillm', 'trl_minillm', 'ours-minillm'),
  side('ours-minillm-0', 'minillm', 'ours-minillm-0', [
    '--set',
    'objective.gamma=0',
    '--set',
    'objective.length_norm=off',
  ]),
  side('trl-minillm-0', 'trl_minillm', 'ours-minillm-0', ['0']),
  side('ours-gkd', 'gkd', 'ours-gkd'),
  side('trl-gkd', 'trl_gkd', 'ours-gkd'),
  side('trl-distillation', 'trl_distillation', 'ours-gkd'),
];

function side(name: string, file: string, beside: string, more: readonly string[] = []): Side {
  const data = name.includes('minillm') ? 'prompts' : 'messages';
  return { name, file, data, trl: name.startsWith('trl'), beside, more };
}

/** One training run; the first step of `seconds` warms up and is left out. */
export interface Run extends Measured {
  seconds: number[];
  losses: number[];
}

export type Evaluated = Record<string, { mean: number; stderr: number }>;

export interface Comparison {
  settings: {
    threads: number;
    repeats: number;
    load_1min: readonly [number, number];
    versions: Record<string, string>;
  };
  runs: Record<string, Run[]>;
  evaluated: Record<string, Evaluated>;
}

const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
const head = (cells: readonly string[]): string[] => [
  row(cells),
  row(cells.map((_, i) => (i === 0 ? '---' : '--:'))),
];

/** Median over all turns. */
const over = (runs: readonly Run[], read: (run: Run) => number[]): number => median(runs.flatMap(read));

export function comparisonMarkdown({ settings, runs, evaluated }: Comparison): string {
  const seconds = (name: string): number => over(runs[name]!, (run) => run.seconds.slice(1));
  const peak = (name: string): number => over(runs[name]!, (run) => [run.peak_rss_mb]);
  const cpu = (name: string): number => over(runs[name]!, (run) => [run.cpu_s]);
  const cost = sides.map(({ name, beside, trl }) => {
    const of = (value: (side: string) => number): string =>
      trl ? (value(beside) / value(name)).toFixed(2) : '';
    const [time, memory, processor] = [seconds(name), peak(name), cpu(name)];
    return row([
      name,
      time.toFixed(3),
      of(seconds),
      memory.toFixed(0),
      of(peak),
      processor.toFixed(1),
      of(cpu),
    ]);
  });
  const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;
  const losses = (name: string): number[] => runs[name]![0]!.losses;
  const steps = losses(sides[0]!.name).length;
  const names = sides.map(({ name }) => name);
  const perStep = Array.from({ length: steps }, (_, i) =>
    row([i + 1, ...names.map((name) => losses(name)[i]!.toFixed(4))]),
  );
  const { versions } = settings;
  const [low, high] = settings.load_1min;
  const metrics = Object.keys(Object.values(evaluated)[0]!);
  const students = Object.entries(evaluated).map(([name, of]) =>
    row([
      name,
      ...metrics.map((metric) => `${of[metric]!.mean.toFixed(2)} ±${of[metric]!.stderr.toFixed(2)}`),
    ]),
  );
  return `${[
    `TRL ${versions.trl}, transformers ${versions.transformers}, PyTorch ${versions.torch}; threads a side: ${settings.threads}, turns: ${settings.repeats}, load ${low.toFixed(1)} to ${high.toFixed(1)} (one minute).`,
    '',
    ...head([
      'run',
      's per step, median',
      'ours / TRL',
      'peak MB',
      'ours / TRL',
      'processor s, whole run',
      'ours / TRL',
    ]),
    ...cost,
    '',
    ...head(['student', ...metrics]),
    ...students,
    '',
    ...head(['loss at step', ...names]),
    ...perStep,
    row(['mean', ...names.map((name) => mean(losses(name)).toFixed(4))]),
  ].join('\n')}\n`;
}
