/** Index of a number on the tape. */
export type Node = number;

/**
 * Reverse-mode differentiation of single numbers in float64: slow, obvious, exact to rounding. Every node knows its value, the
 * nodes that it was computed from and its slope in each of them; that is all that the chain rule needs.
 */
export class Tape {
  private readonly values: number[] = [];
  /** Where a node's inputs begin in the two lists below; they end where those of the next node begin. */
  private readonly starts: number[] = [0];
  private readonly inputs: Node[] = [];
  private readonly slopes: number[] = [];
  private gradient = new Float64Array(0);

  /** How many nodes there are: the index of the next one. */
  get length(): number {
    return this.values.length;
  }

  value(node: Node): number {
    return this.values[node]!;
  }

  /** A node with its value, inputs and slopes; a constant or a parameter has none. */
  node(value: number, inputs: readonly Node[] = [], slopes: readonly number[] = []): Node {
    for (const [i, input] of inputs.entries()) {
      this.inputs.push(input);
      this.slopes.push(slopes[i]!);
    }
    this.starts.push(this.inputs.length);
    return this.values.push(value) - 1;
  }

  /** Σ a_i b_i [+ c] */
  dot(a: readonly Node[], b: readonly Node[], c?: Node): Node {
    let sum = c === undefined ? 0 : this.values[c]!;
    for (let i = 0; i < a.length; i++) {
      sum += this.values[a[i]!]! * this.values[b[i]!]!;
      this.inputs.push(a[i]!, b[i]!);
      this.slopes.push(this.values[b[i]!]!, this.values[a[i]!]!);
    }
    if (c !== undefined) {
      this.inputs.push(c);
      this.slopes.push(1);
    }
    this.starts.push(this.inputs.length);
    return this.values.push(sum) - 1;
  }

  /** Σ f_i a_i, f plain numbers. */
  combine(a: readonly Node[], f: readonly number[]): Node {
    return this.node(
      a.reduce((sum, node, i) => sum + f[i]! * this.values[node]!, 0),
      a,
      f,
    );
  }

  add(a: Node, b: Node): Node {
    return this.combine([a, b], [1, 1]);
  }

  multiply(a: Node, b: Node): Node {
    return this.dot([a], [b]);
  }

  /** f of one node; f gives the value and the slope. */
  apply(a: Node, f: (x: number) => readonly [value: number, slope: number]): Node {
    const [value, slope] = f(this.values[a]!);
    return this.node(value, [a], [slope]);
  }

  softmax(scores: readonly Node[]): Node[] {
    const z = scores.map((node) => this.values[node]!);
    const top = Math.max(...z);
    const total = z.reduce((sum, x) => sum + Math.exp(x - top), 0);
    const weights = z.map((x) => Math.exp(x - top) / total);
    return weights.map((w, i) =>
      this.node(
        w,
        scores,
        weights.map((other, j) => w * ((i === j ? 1 : 0) - other)),
      ),
    );
  }

  /**
   * ∂node/∂(nodes 0 .. count−1), those that were made first.
   *
   * @param ranges [from, to) of the nodes that `node` may depend on besides those, in ascending order
   */
  derivatives(node: Node, count: number, ranges: readonly (readonly [from: Node, to: Node])[]): Float64Array {
    if (this.gradient.length < this.length) this.gradient = new Float64Array(this.length);
    const { gradient, starts, inputs, slopes } = this;
    gradient[node] = 1;
    for (let r = ranges.length - 1; r >= 0; r--) {
      const [from, to] = ranges[r]!;
      for (let n = to - 1; n >= from; n--) {
        const g = gradient[n]!;
        if (g === 0) continue;
        gradient[n] = 0;
        for (let i = starts[n]!; i < starts[n + 1]!; i++) gradient[inputs[i]!]! += g * slopes[i]!;
      }
    }
    const result = gradient.slice(0, count);
    gradient.fill(0, 0, count);
    return result;
  }
}
