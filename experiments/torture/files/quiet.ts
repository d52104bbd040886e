/** What a piece of work writes to standard output and error, which then does not reach a terminal. */
export async function listening<T>(work: () => T | Promise<T>): Promise<{ result: T; lines: string[] }> {
  const streams = [process.stdout, process.stderr];
  const before = streams.map((stream) => stream.write);
  let text = '';
  for (const stream of streams) {
    stream.write = ((chunk: string | Uint8Array): boolean => {
      text += String(chunk);
      return true;
    }) as typeof stream.write;
  }
  try {
    const result = await work();
    return { result, lines: text.split('\n').filter((line) => line.trim() !== '') };
  } finally {
    streams.forEach((stream, i) => {
      stream.write = before[i]!;
    });
  }
}
