/** A table in Markdown. @param left columns that are text; the others are numbers, to the right */
export function markdownTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  left: readonly number[] = [0],
): string {
  const rule = head.map((_, i) => (left.includes(i) ? '---' : '--:'));
  return [head, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
