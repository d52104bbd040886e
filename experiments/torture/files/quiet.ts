/** What this process writes to standard output and error, which from here on does not reach a terminal. */
let text = '';
for (const stream of [process.stdout, process.stderr]) {
  stream.write = ((chunk: string | Uint8Array): boolean => {
    text += String(chunk);
    return true;
  }) as typeof stream.write;
}

/** The lines that were written since the last call. */
export function written(): string[] {
  const lines = text === '' ? [] : text.split('\n').filter((line) => line.trim() !== '');
  text = '';
  return lines;
}
