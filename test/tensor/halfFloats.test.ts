import { describe, expect, it } from 'vitest';
import { stream } from '../../src/random/streams.js';
import { fromBf16, fromF16, toBf16, toF16 } from '../../src/tensor/halfFloats.js';

const f32 = (...values: number[]) => Float32Array.from(values);
const u16 = (...values: number[]) => Uint16Array.from(values);
const allPatterns = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** The finite value nearest to x; of two equally near, the one with the even pattern. Searches all of them. */
function slowNearest(x: number, finite: { value: number; pattern: number }[]): number {
  let best = finite[0]!;
  for (const candidate of finite) {
    const [d, least] = [Math.abs(candidate.value - x), Math.abs(best.value - x)];
    if (d < least || (d === least && candidate.pattern % 2 === 0 && best.pattern % 2 === 1)) best = candidate;
  }
  return best.value;
}

describe('half precision', () => {
  it('literals', () => {
    expect(toF16(f32(0, -0, 1, -2, 65504, 2 ** -14, 2 ** -24, 0.1, 1 / 3))).toEqual(
      u16(0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x2e66, 0x3555),
    );
  });

  it('rounds ties to even, in the normal and in the subnormal range', () => {
    // 1 + 1/2048 lies half way between 1 and 1 + 1/1024, 1 + 3/2048 half way to the next.
    expect(toF16(f32(1 + 1 / 2048, 1 + 3 / 2048))).toEqual(u16(0x3c00, 0x3c02));
    expect(toF16(f32(0.5 * 2 ** -24, 1.5 * 2 ** -24, 2.5 * 2 ** -24))).toEqual(u16(0, 2, 2));
    expect(toF16(f32(1023.5 * 2 ** -24))).toEqual(u16(0x0400)); // carries into the normal range
  });

  it('overflows at 65520, keeps infinities and NaN', () => {
    expect(toF16(f32(65519.99, 65520, -1e30, Number.POSITIVE_INFINITY))).toEqual(
      u16(0x7bff, 0x7c00, 0xfc00, 0x7c00),
    );
    expect(fromF16(toF16(f32(Number.NaN)))[0]).toBeNaN();
  });

  it('every pattern survives the way through 32 bits', () => {
    const back = toF16(fromF16(allPatterns));
    const wrong = allPatterns.filter((p) => (p & 0x7fff) <= 0x7c00 && back[p] !== p);
    expect(wrong).toEqual(u16());
  });

  it('is nearest, by search over all values', () => {
    const values = fromF16(allPatterns);
    const finite = [...allPatterns]
      .map((pattern) => ({ pattern, value: values[pattern]! }))
      .filter(({ value }) => Number.isFinite(value));
    const rng = stream(1, 'half precision');
    const samples = Float32Array.from({ length: 60 }, (_, i) => (rng() - 0.5) * 10 ** ((i % 11) - 7));
    // + 0 makes the zeros one: the search does not tell −0 from 0
    const rounded = fromF16(toF16(samples)).map((x) => x + 0);
    expect(rounded).toEqual(samples.map((x) => slowNearest(x, finite) + 0));
  });
});

describe('bfloat16', () => {
  it('literals', () => {
    expect(toBf16(f32(0, -0, 1, -2, 3.140625))).toEqual(u16(0x0000, 0x8000, 0x3f80, 0xc000, 0x4049));
  });

  it('rounds ties to even and to nearest', () => {
    expect(toBf16(f32(1 + 1 / 256, 1 + 3 / 256, 1 + 1.01 / 256, 1 + 0.99 / 256))).toEqual(
      u16(0x3f80, 0x3f82, 0x3f81, 0x3f80),
    );
  });

  it('overflows above the largest value, keeps infinities and NaN', () => {
    expect(toBf16(f32(3.4e38, Number.NEGATIVE_INFINITY))).toEqual(u16(0x7f80, 0xff80));
    expect(fromBf16(toBf16(f32(Number.NaN)))[0]).toBeNaN();
  });

  it('every pattern survives the way through 32 bits', () => {
    const back = toBf16(fromBf16(allPatterns));
    const wrong = allPatterns.filter((p) => (p & 0x7fff) <= 0x7f80 && back[p] !== p);
    expect(wrong).toEqual(u16());
  });
});
