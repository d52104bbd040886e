/** The few forms of protocol buffers that a TensorFlow graph is written in. */

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

/** A whole number as 64 bits, seven a byte, the lowest first. */
export function varint(n: number): Uint8Array {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(n));
  for (; rest >= 128n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  return Uint8Array.from([...out, Number(rest)]);
}

export function bytes(field: number, content: Uint8Array): Uint8Array {
  return concat([varint(field * 8 + 2), varint(content.length), content]);
}

export function text(field: number, content: string): Uint8Array {
  return bytes(field, Buffer.from(content));
}

export function integer(field: number, value: number): Uint8Array {
  return concat([varint(field * 8), varint(value)]);
}

export function float(field: number, value: number): Uint8Array {
  return concat([varint(field * 8 + 5), new Uint8Array(Float32Array.of(value).buffer)]);
}
