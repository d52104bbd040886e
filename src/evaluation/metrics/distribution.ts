/** How often values fall between edges: `counts[b]` of them in [edges[b], edges[b+1]); both ends are open. */
export interface Distribution {
  /** Rising; the outermost bins also hold what lies beyond them. */
  edges: number[];
  counts: number[];
}

/** Counts values between the given edges. @throws RangeError with fewer than two edges */
export function distribution(values: Iterable<number>, edges: readonly number[]): Distribution {
  if (edges.length < 2) throw new RangeError(`a distribution needs two edges or more, got ${edges.length}`);
  const counts = new Array<number>(edges.length - 1).fill(0);
  for (const value of values) {
    let bin = 0;
    while (bin < counts.length - 1 && value >= edges[bin + 1]!) bin++;
    counts[bin]!++;
  }
  return { edges: [...edges], counts };
}

/** Edges from `from` in `bins` steps of `width`. */
export function evenEdges(from: number, width: number, bins: number): number[] {
  return Array.from({ length: bins + 1 }, (_, i) => from + i * width);
}
