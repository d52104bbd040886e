import { describe, expect, it } from 'vitest';
import { exactMatch, normalizeAnswer } from '../../../src/evaluation/metrics/exactMatch.js';

describe('exactMatch', () => {
  it('deletes every ASCII punctuation mark and nothing else', () => {
    const printable = String.fromCharCode(...Array.from({ length: 94 }, (_, i) => 33 + i));
    expect(normalizeAnswer(printable)).toBe('0123456789abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz');
    expect(normalizeAnswer(' Don’t  e-mail\n\tME! ')).toBe('don’t email me');
  });

  it('is 100 for an equal answer to any reference, else 0', () => {
    expect(exactMatch('  The Gap. ', ['a hole', 'the gap'])).toBe(100);
    expect(exactMatch('the gaps', ['the gap'])).toBe(0);
    expect(exactMatch('gap', ['the gap'])).toBe(0);
    expect(exactMatch('', ['...'])).toBe(100);
    expect(() => exactMatch('x', [])).toThrow(RangeError);
  });
});
