const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text made safe for HTML content and for quoted attributes. Everything that is not ours goes through here. */
export function escapeHtml(text: unknown): string {
  return String(text).replace(/[&<>"']/g, (character) => entities[character]!);
}

/**
 * A value as JSON for `<script type="application/json">`. The HTML parser ends a script at `</script` and changes
 * state at `<!--`, whatever the JSON means, so every `<`, `>` and `&` is written as an escape; U+2028 and U+2029 too.
 */
export function scriptJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** One CSV table (RFC 4180): cells with a comma, quote or line end are quoted, absent and non-finite ones are empty. */
export function csv(
  header: readonly string[],
  rows: readonly (readonly (string | number | null | undefined)[])[],
): string {
  const cell = (value: string | number | null | undefined): string => {
    if (value === null || value === undefined || (typeof value === 'number' && !Number.isFinite(value)))
      return '';
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [header, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}
