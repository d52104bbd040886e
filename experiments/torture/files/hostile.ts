import { integer, type Rng } from '../../../src/random/streams.js';

/** Values that files of ours never hold, or hold in other places. `raw` ones are put into JSON as they stand. */

export const pick = <T>(rng: Rng, list: readonly T[]): T => list[integer(rng, list.length)]!;

const repeated = (text: string, times: number): string => text.repeat(times);

/** A file that lies outside every directory that a case may read or write. */
export const OUTSIDE = '../../../guard/secret.safetensors';

export const strings: readonly string[] = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  '\u2028',
  '\ufeff',
  'two\nlines',
  '\r\n',
  '\u001b[31mred',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'length',
  OUTSIDE,
  '../../../../etc/passwd',
  '/etc/passwd',
  'C:\\x',
  '~',
  '.',
  '..',
  'file:///etc/passwd',
  'http://127.0.0.1:1/x',
  '%s%n%x',
  '{{ 7 * 7 }}',
  '<script>alert(1)</script>',
  '</s>',
  '<|endoftext|>',
  'é'.normalize('NFD'),
  '👩‍👩‍👧',
  '1',
  '-1',
  '1e999',
  'NaN',
  'true',
  'null',
  repeated('a', 5_000),
  repeated('\u{1F600}', 2_000),
  repeated('../', 200),
];

export const numbers: readonly string[] = [
  '0',
  '-0',
  '1',
  '-1',
  '2',
  '3',
  '0.5',
  '-0.5',
  '1e-320',
  '1e308',
  '-1e308',
  '1e999',
  '-1e999',
  '255',
  '65536',
  '100000',
  '16777216',
  '1073741824',
  '2147483647',
  '2147483648',
  '-2147483648',
  '4294967296',
  '9007199254740991',
  '9007199254740993',
  '1e21',
  '123456789012345678901234567890',
];

const deep = (open: string, close: string, depth: number): string =>
  repeated(open, depth) + repeated(close, depth);

/** JSON texts, most of them valid. */
export function rawValue(rng: Rng): string {
  const kind = rng();
  if (kind < 0.3) return pick(rng, numbers);
  if (kind < 0.55) return JSON.stringify(pick(rng, strings));
  if (kind < 0.97)
    return pick(rng, [
      'null',
      'true',
      'false',
      '[]',
      '{}',
      '[[]]',
      '[null]',
      '[0]',
      '[-1]',
      '[1,2,3]',
      '{"a":1}',
    ]);
  return pick(rng, [
    '{"__proto__":{"x":1}}',
    '{"constructor":{"prototype":{"x":1}}}',
    '{"length":-1}',
    '{"0":0,"1":1}',
    `[${repeated('0,', 3000)}0]`,
    deep('[', ']', 200),
    deep('[', ']', 9_000),
    deep('{"a":', '}', 200).replace(':}', ':0}'),
    deep('{"a":', '}', 9_000).replace(':}', ':0}'),
    'NaN',
    'undefined',
    '01',
    "'x'",
    '/* c */1',
    '"\\ud800"',
    '"\\u0000"',
    '"a\tb"',
  ]);
}

/** What is thrown into texts and bytes, beside parts of themselves. */
export const fragments: readonly Buffer[] = [
  ...[...strings.filter((text) => text.length < 100), ...numbers].map((text) => Buffer.from(text)),
  ...[
    '{',
    '}',
    '[',
    ']',
    '"',
    ',',
    ':',
    '\\',
    '\n',
    '\n\n',
    '\t',
    '#',
    '&a ',
    '*a',
    '!!',
    '- ',
    '? ',
    '<<: ',
    '---\n',
    '...\n',
    "'",
    '`',
    '|',
    '>',
    '%',
    '{%',
    '%}',
    '{{',
    '}}',
    '"":',
    ',,',
    '{"__proto__":1}',
    '{"a":',
  ].map((text) => Buffer.from(text)),
  Buffer.from([0x80]),
  Buffer.from([0xff, 0xfe]),
  Buffer.from([0xc0, 0xaf]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xf4, 0x90, 0x80, 0x80]),
  Buffer.from([0, 0, 0, 0]),
  Buffer.from([0xef, 0xbb, 0xbf]),
  Buffer.from('version https://git-lfs.github.com/spec/v1\n'),
];
