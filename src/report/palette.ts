/**
 * Series colours, after Okabe and Ito (distinguishable with every common colour vision), darkened or lightened to
 * reach 4.5:1 against the page in light and in dark: names of lines are written in them. Number 0 is the neutral of the teacher.
 */
export const seriesColors: readonly { light: string; dark: string }[] = [
  { light: '#59636e', dark: '#a9b4bf' },
  { light: '#c04c18', dark: '#ff8f5e' },
  { light: '#0a6ebd', dark: '#5fb0f0' },
  { light: '#00805c', dark: '#37c79b' },
  { light: '#8a6900', dark: '#e3bb4a' },
  { light: '#9a4d8b', dark: '#dd9bd0' },
  { light: '#247a90', dark: '#72cfe4' },
  { light: '#6f6a1e', dark: '#c3bd63' },
  { light: '#46399f', dark: '#a99cff' },
];

/** A method keeps its colour from one report to the next. */
const methodColor = new Map(
  Object.entries({
    ...{ minillm: 1, kd: 2, babyllama: 3, sft: 4, seqkd: 5, gkd: 6, distillm: 7 },
    'reverse-kd': 8,
  }),
);

/** How a thing is drawn: a custom property of the page, and dashed where the colour is taken already. */
export interface LineColor {
  stroke: string;
  dashed: boolean;
}

/** Colour number n; beyond the palette colours come again, dashed. An SVG on its own gets the light values. */
export function lineColor(n: number): LineColor {
  const cycle = seriesColors.length - 1;
  return { stroke: `var(--s${n === 0 ? 0 : 1 + ((n - 1) % cycle)})`, dashed: n > cycle };
}

export const colorVariable = (n: number): string => lineColor(n).stroke;

/** The colour number of each entry: its method's, or where that is taken the next free one. */
export function assignColors<T extends { method: string; isTeacher: boolean }>(
  entries: readonly T[],
): Map<T, number> {
  const numbers = new Map<T, number>();
  const used = new Set<number>();
  for (const entry of entries) {
    const own = entry.isTeacher ? 0 : methodColor.get(entry.method);
    if (own === undefined || (used.has(own) && own !== 0)) continue;
    numbers.set(entry, own);
    used.add(own);
  }
  for (const entry of entries) {
    if (numbers.has(entry)) continue;
    let free = 1;
    while (used.has(free)) free++;
    numbers.set(entry, free);
    used.add(free);
  }
  return numbers;
}
