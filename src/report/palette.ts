import type { Run } from './runs.js';

/**
 * Series colours, after Okabe and Ito (distinguishable with every common colour vision), darkened or lightened to
 * reach 3:1 against the page in light and in dark. Number 0 is the neutral of the teacher.
 */
export const seriesColors: readonly { light: string; dark: string }[] = [
  { light: '#59636e', dark: '#a9b4bf' },
  { light: '#c8501a', dark: '#ff8f5e' },
  { light: '#0a6ebd', dark: '#5fb0f0' },
  { light: '#00805c', dark: '#37c79b' },
  { light: '#a67c00', dark: '#e3bb4a' },
  { light: '#9a4d8b', dark: '#dd9bd0' },
  { light: '#2f8fa8', dark: '#72cfe4' },
  { light: '#6f6a1e', dark: '#c3bd63' },
];

/** A method keeps its colour from one report to the next. */
const methodColor = new Map(
  Object.entries({ teacher: 0, minillm: 1, kd: 2, babyllama: 3, sft: 4, seqkd: 5 }),
);

/** The number of each run's colour: its method's, or for a second run of a method the next free one. */
export function assignColors(runs: readonly Run[]): Map<Run, number> {
  const colors = new Map<Run, number>();
  const used = new Set<number>();
  for (const run of runs) {
    const own = methodColor.get(run.method);
    if (own === undefined || (used.has(own) && own !== 0)) continue;
    colors.set(run, own);
    used.add(own);
  }
  const order = seriesColors.map((_, i) => i).slice(1);
  for (const [i, run] of runs.filter((r) => !colors.has(r)).entries()) {
    const free = order.find((color) => !used.has(color)) ?? order[i % order.length]!;
    colors.set(run, free);
    used.add(free);
  }
  return colors;
}

/** Custom properties that the page defines for both themes; an SVG on its own gets the light values. */
export const colorVariable = (index: number): string => `var(--s${index})`;
