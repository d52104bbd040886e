/**
 * IEEE half precision (f16) and bfloat16 (bf16), as 16-bit patterns, from and to 32-bit floats. Rounding is to
 * nearest, ties to even (IEEE 754-2019, 4.3.1), like every other writer of model files, so that equal weights give
 * equal bytes.
 */

/** The f16 patterns nearest to `values`. Magnitudes from 65520 up become infinite; NaN stays NaN. */
export function toF16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) {
    const sign = (bits[i]! >>> 16) & 0x8000;
    const magnitude = bits[i]! & 0x7fffffff;
    if (magnitude > 0x7f800000) out[i] = sign | 0x7e00;
    else if (magnitude >= 0x477ff000) out[i] = sign | 0x7c00;
    else if (magnitude < 0x38800000) out[i] = sign | halfEven(Math.abs(values[i]!) * 2 ** 24);
    // Adding just under half of the last kept bit, and one more if that bit is odd, carries exactly when it must.
    else out[i] = sign | (((magnitude + 0xfff + ((magnitude >>> 13) & 1)) >>> 13) - 0x1c000);
  }
  return out;
}

/** The values of f16 patterns, exactly. @param out of the same length, where they go */
export function fromF16(patterns: Uint16Array, out = new Float32Array(patterns.length)): Float32Array {
  f16Values ??= Float32Array.from({ length: 65536 }, (_, pattern) => f16Value(pattern));
  for (let i = 0; i < patterns.length; i++) out[i] = f16Values[patterns[i]!]!;
  return out;
}

/** The bf16 patterns nearest to `values`; NaN stays NaN. */
export function toBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) {
    const x = bits[i]!;
    if ((x & 0x7fffffff) > 0x7f800000) out[i] = (x >>> 16) | 0x40;
    else out[i] = (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** The values of bf16 patterns, exactly: they are the upper half of a 32-bit float. @param out of the same length, where they go */
export function fromBf16(patterns: Uint16Array, out = new Float32Array(patterns.length)): Float32Array {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < patterns.length; i++) bits[i] = patterns[i]! << 16;
  return out;
}

let f16Values: Float32Array | undefined;

function f16Value(pattern: number): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >> 10) & 31;
  const fraction = pattern & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The integer nearest to a non-negative number, the even one of two. */
function halfEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}
