/** A real minus sign; none before a zero. */
const minus = (text: string): string => text.replace(/^-(?=[0.]*$)/, '').replace('-', '−');

/** How many decimals (0 to 4) show a standard error with one significant digit, or two when it begins with 1 or 2. */
export function decimalsFor(stderr: number): number {
  if (!(stderr > 0) || !Number.isFinite(stderr)) return 2;
  const exponent = Math.floor(Math.log10(stderr));
  const first = Math.floor(stderr / 10 ** exponent + 1e-9);
  return Math.min(4, Math.max(0, (first <= 2 ? 1 : 0) - exponent));
}

/** A number with fixed decimals and a real minus sign; an en dash for what is no number. */
export function fixed(value: number | null | undefined, decimals: number): string {
  return value === null || value === undefined || !Number.isFinite(value)
    ? '–'
    : minus(value.toFixed(decimals));
}

/** The ends of an interval: `13.4–17.4`, and with a word between them where one is negative. */
export function ranged(low: number, high: number, decimals: number): string {
  const [from, to] = [fixed(low, decimals), fixed(high, decimals)];
  return (from + to).includes('−') ? `${from} to ${to}` : `${from}–${to}`;
}

/** A count of parameters: 1878240 -> 1.9M, 418272 -> 0.42M. */
export function magnitude(count: number): string {
  if (count < 100_000) return Math.round(count).toLocaleString('en');
  const [size, unit] = count < 1e9 ? [count / 1e6, 'M'] : [count / 1e9, 'B'];
  return `${Number(size.toPrecision(size >= 100 ? 3 : 2))}${unit}`;
}

/** About three significant digits, for numbers in sentences. */
export function brief(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return minus(value.toFixed(0));
  return minus(size >= 0.001 || size === 0 ? value.toPrecision(3) : value.toExponential(1));
}

/** Short axis labels: 12000 -> 12k, 0.0006 as it is, 0.00005 -> 5 · 10⁻⁵. */
export function tick(value: number): string {
  const size = Math.abs(value);
  if (size >= 10_000) return minus(`${Number((value / 1000).toPrecision(4))}k`);
  if (size > 0 && size < 0.0001) return powerOfTen(value);
  return minus(String(Number(value.toPrecision(6))));
}

/** With two decimals at most. */
function powerOfTen(value: number): string {
  const [digits, exponent] = value.toExponential().split('e') as [string, string];
  const raised = [...String(Number(exponent))]
    .map((c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(c)]!))
    .join('');
  return `${minus(String(Number(Number(digits).toFixed(2))))} · 10${raised}`;
}

/** 75 -> `1 min 15 s`. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${brief(seconds)} s`;
  const whole = Math.round(seconds);
  const parts = [`${Math.floor(whole / 3600)} h`, `${Math.floor(whole / 60) % 60} min`, `${whole % 60} s`];
  return (whole >= 3600 ? parts.slice(0, 2) : parts.slice(1)).join(' ');
}
