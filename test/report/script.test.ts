import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseHTML } from 'linkedom';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeReport } from '../../src/report/report.js';
import { loadRuns } from '../../src/report/runs.js';
import { joinSamples, mostPrompts } from '../../src/report/samples.js';
import { pageScript } from '../../src/report/script.js';
import { writeSyntheticRuns } from './syntheticRuns.js';

let root: string;
let html: string;
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), 'script-'));
  writeSyntheticRuns(path.join(root, 'runs'), { steps: 4, prompts: 8 });
  writeReport([path.join(root, 'runs')], path.join(root, 'report.html'));
  html = readFileSync(path.join(root, 'report.html'), 'utf8');
});
afterAll(() => rmSync(root, { recursive: true }));

/** Runs the page's script on a document of linkedom, with stand-ins for what only a browser has. */
function open(options: { dark?: boolean } = {}) {
  const { document, Event } = parseHTML(html);
  const stored = new Map<string, string>();
  const localStorage = {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
  };
  const select = document.getElementById('order')!;
  // linkedom has no form state: a plain property stands for what the browser keeps.
  Object.defineProperty(select, 'value', { value: 'data', writable: true });
  Object.defineProperty(document.getElementById('find')!, 'value', { value: '', writable: true });
  new Function('document', 'localStorage', 'matchMedia', pageScript)(document, localStorage, () => ({
    matches: options.dark === true,
  }));
  const fire = (id: string, type: string): void =>
    void document.getElementById(id)!.dispatchEvent(new Event(type, { bubbles: true }));
  const text = (selector: string): string => document.querySelector(selector)?.textContent ?? '';
  return { document, stored, fire, text, Event };
}

describe('the sample browser', () => {
  it('shows prompt, reference and one response a run, token by token', () => {
    const { document, text } = open();
    expect(text('#position')).toBe('1 of 8');
    expect(text('.given')).toContain('rift');
    expect(text('.given')).toContain('a gap between cloud masses');
    expect([...document.querySelectorAll('.response h4')].map((h) => h.textContent)).toEqual([
      'Teacher',
      'SFT',
      'KD',
      'BabyLlama',
      'MiniLLM',
    ]);
    const tokens = [...document.querySelectorAll('.response:last-child .tok')];
    expect(tokens.map((t) => t.textContent)).toEqual([' an', ' opening', ' between', ' masses', '<|end|>']);
    // The teacher has no reward against itself.
    expect(document.querySelector('.response:first-child .ink')!.className).toBe('ink');
  });

  it('classes and names each token by ln p − ln q', () => {
    const { document } = open();
    const rows = readFileSync(path.join(root, 'runs/minillm/samples/eval.jsonl'), 'utf8').split('\n');
    const row = JSON.parse(rows[0]!);
    const tokens = [...document.querySelectorAll('.response:last-child .tok')];
    for (const [i, token] of tokens.entries()) {
      const r = row.teacher_logprobs[i] - row.logprobs[i];
      const size =
        Math.abs(r) < 0.25 ? 'z' : `${r < 0 ? 'n' : 'p'}${Math.abs(r) < 1 ? 1 : Math.abs(r) < 3 ? 2 : 3}`;
      expect(token.querySelector('.ink')!.className).toBe(`ink ${size}`);
      expect(token.getAttribute('aria-label')).toMatch(/^“.*”, reward −?\d+\.\d\d$/);
      expect(
        Math.abs(Number(token.getAttribute('aria-label')!.split('reward ')[1]!.replace('−', '-')) - r),
      ).toBeLessThan(0.0075);
    }
  });

  it('shows the numbers of a token in focus and the totals again after', () => {
    const { document, Event } = open();
    const token = document.querySelectorAll('.response:last-child .tok')[2]!;
    const readout = document.querySelector('.response:last-child .readout')!;
    const before = readout.textContent;
    expect(before).toMatch(/^5 tokens · Σ r = −?\d+\.\d\d · ended by itself$/);
    token.dispatchEvent(new Event('focusin', { bubbles: true }));
    expect(readout.textContent).toMatch(
      /^“ between” {2}r = −?\d+\.\d\d {2}\(ln p −\d+\.\d\d, ln q −\d+\.\d\d\)$/,
    );
    token.dispatchEvent(new Event('focusout', { bubbles: true }));
    expect(readout.textContent).toBe(before);
  });

  it('makes each response one stop of the tab key and moves within it by arrows', () => {
    const { document, Event } = open();
    const tokens = [...document.querySelectorAll('.response:last-child .tok')];
    expect(tokens.map((t) => t.getAttribute('tabindex'))).toEqual(['0', '-1', '-1', '-1', '-1']);
    const press = (key: string, at: number): void => {
      const event = new Event('keydown', { bubbles: true, cancelable: true });
      Object.assign(event, { key });
      tokens[at]!.dispatchEvent(event);
    };
    press('ArrowRight', 0);
    expect(tokens.map((t) => t.getAttribute('tabindex'))).toEqual(['-1', '0', '-1', '-1', '-1']);
    press('End', 1);
    expect(tokens.map((t) => t.getAttribute('tabindex'))).toEqual(['-1', '-1', '-1', '-1', '0']);
    press('ArrowRight', 4);
    expect(tokens[4]!.getAttribute('tabindex')).toBe('0');
  });

  it('moves through the prompts in a circle, finds and sorts', () => {
    const { document, fire, text } = open();
    fire('previous', 'click');
    expect(text('#position')).toBe('8 of 8');
    fire('next', 'click');
    expect(text('#position')).toBe('1 of 8');
    const find = document.getElementById('find') as unknown as { value: string };
    find.value = 'ACYCLIC';
    fire('find', 'input');
    expect(text('#position')).toBe('1 of 1');
    expect(text('.given')).toContain('acyclic');
    find.value = 'not in any prompt';
    fire('find', 'input');
    expect(text('#position')).toBe('nothing found');
    fire('next', 'click');
    expect(document.querySelectorAll('.response')).toHaveLength(0);
    find.value = '';
    (document.getElementById('order') as unknown as { value: string }).value = 'surprise';
    fire('order', 'change');
    // The prompt with the student response of the lowest total reward comes first.
    const totals = (): number[] =>
      [...document.querySelectorAll('.readout')]
        .flatMap((r) => /Σ r = (\S+)/.exec(r.textContent!)?.[1]?.replace('−', '-') ?? [])
        .map(Number);
    const first = Math.min(...totals());
    fire('next', 'click');
    expect(Math.min(...totals())).toBeGreaterThanOrEqual(first);
  });
});

describe('the theme switch', () => {
  it('begins with what the reader’s system prefers, changes, and remembers', () => {
    const { document, fire, stored } = open({ dark: true });
    const button = document.getElementById('theme')!;
    expect(button.textContent).toBe('Light');
    fire('theme', 'click');
    expect(document.documentElement.getAttribute('data-theme')).toBe('light');
    expect(button.textContent).toBe('Dark');
    expect(stored.get('minillm-theme')).toBe('light');
  });
});

describe('joinSamples', () => {
  it('puts first what most runs answered, cuts, and keeps the order of the data', () => {
    const runs = loadRuns([path.join(root, 'runs')]);
    const colors = new Map(runs.map((run, i) => [run, i]));
    const many = Array.from({ length: 100 }, (_, index) => ({ ...runs[1]!.samples[0]!, index }));
    const some = many.filter(({ index }) => index >= 50);
    const data = joinSamples(
      [
        { ...runs[0]!, samples: many },
        { ...runs[1]!, samples: some },
      ],
      colors,
    );
    expect(data.total).toBe(100);
    expect(data.prompts.map((p) => p.index)).toEqual([
      ...Array.from({ length: mostPrompts - 50 }, (_, i) => i),
      ...some.map((r) => r.index),
    ]);
    expect(data.prompts[0]!.responses[1]).toBeNull();
  });
});

describe('tokens that make one character', () => {
  it('are one, with the log-probability of all', () => {
    const [run] = loadRuns([path.join(root, 'runs', 'minillm')]);
    const token = (text: string, student: number, teacher: number) => ({ text, student, teacher });
    const tokens = [token(' a', -1, -2), token('', -1, -0.5), token('😀', -0.25, -1), token('', -3, -1)];
    const samples = [{ ...run!.samples[0]!, tokens }];
    const data = joinSamples([{ ...run!, samples }], new Map());
    expect(data.prompts[0]!.responses[0]!.tokens).toEqual([
      [' a', -1, -2],
      ['😀', -1.25, -1.5, 2],
      ['', -3, -1],
    ]);
  });
});
