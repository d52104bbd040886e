import { UsageError } from '../errors.js';

/** Today's date here, as YYYY-MM-DD. */
export function today(): string {
  const now = new Date();
  const two = (n: number) => String(n).padStart(2, '0');
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
}

/** Whether a text is a date that exists, as YYYY-MM-DD. */
export function isDate(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

/**
 * Python's `strftime` of a day at midnight, with English names: what `strftime_now` of a chat template gives when the day is
 * fixed. @throws UsageError for a directive that is not supported
 */
export function strftime(day: string, format: string): string {
  const date = new Date(`${day}T00:00:00Z`);
  const name = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat('en-US', { ...options, timeZone: 'UTC' }).format(date);
  const newYear = Date.UTC(date.getUTCFullYear(), 0, 1);
  const parts: Record<string, string> = {
    ...{ Y: day.slice(0, 4), y: day.slice(2, 4), m: day.slice(5, 7), d: day.slice(8), '%': '%' },
    ...{ b: name({ month: 'short' }), B: name({ month: 'long' }) },
    ...{ a: name({ weekday: 'short' }), A: name({ weekday: 'long' }) },
    j: String((date.getTime() - newYear) / 86_400_000 + 1).padStart(3, '0'),
    ...{ H: '00', M: '00', S: '00', F: day },
  };
  return format.replace(/%(-?)(.)/g, (directive, bare: string, letter: string) => {
    const part = parts[letter];
    if (part === undefined) throw new UsageError(`strftime_now: ${directive} is not supported`);
    return bare ? part.replace(/^0+(?=.)/, '') : part;
  });
}
