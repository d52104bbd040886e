import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseHTML } from 'linkedom';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { writeReport } from '../../src/report/report.js';
import { writeSyntheticRuns } from './syntheticRuns.js';
import { checkXml } from './xml.js';

let root: string;
let out: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'report-'));
  out = path.join(root, 'page', 'report.html');
});
afterEach(() => rmSync(root, { recursive: true }));

const dom = () => parseHTML(readFileSync(out, 'utf8')).document;
const put = (name: string, text: string): void => {
  mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
  writeFileSync(path.join(root, name), text);
};

describe('writeReport of a comparison', () => {
  // Written once for all tests that only read it: drawing is the slow part.
  let root: string;
  let out: string;
  let files: string[];
  let text: string;
  let document: ReturnType<typeof dom>;
  beforeAll(() => {
    root = mkdtempSync(path.join(tmpdir(), 'report-'));
    out = path.join(root, 'page', 'report.html');
    writeSyntheticRuns(path.join(root, 'runs'), { steps: 60, prompts: 3 });
    mkdirSync(path.dirname(out));
    ({ files } = writeReport([path.join(root, 'runs')], out));
    text = readFileSync(out, 'utf8');
    document = parseHTML(text).document;
  });
  afterAll(() => rmSync(root, { recursive: true }));

  it('has every section, the runs in order with the teacher first, and valid nesting', () => {
    expect([...document.querySelectorAll('main > section')].map((s) => s.id)).toEqual([
      'comparison',
      'hacking',
      'curves',
      'samples',
      'configuration',
    ]);
    expect(document.querySelector('h1')!.textContent).toBe(
      'Distillation with SFT, KD, BabyLlama and MiniLLM',
    );
    const heads = [...document.querySelectorAll('.comparison thead th')].map((th) => th.textContent);
    expect(heads).toEqual(['Metric', 'Teacher', 'SFT', 'KD', 'BabyLlama', 'MiniLLM']);
    const facts = document.querySelector('.facts')!.textContent!;
    for (const fact of ['wordnet-teacher', 'wordnet-student/best', 'tensorflow', 'Example CPU', '0123456789'])
      expect(facts).toContain(fact);
    expect(document.querySelector('#configuration')!.textContent).toContain('train.lr');
    for (const svg of text.match(/<svg.*?<\/svg>/gs)!) checkXml(svg);
  });

  it('shows means with standard errors, marks the best and what cannot be told from it', () => {
    const rows = new Map(
      [...document.querySelectorAll('.comparison tbody tr:not(.group)')].map((tr) => {
        const [name, ...cells] = [...tr.children];
        return [name!.childNodes[0]!.textContent!.replace('\u00a0', '').trim(), cells];
      }),
    );
    const texts = (name: string) => rows.get(name)!.map((cell) => cell.textContent);
    const best = (name: string) => rows.get(name)!.map((cell) => cell.className.includes('best'));
    expect(texts('Rouge-L, sampled')).toEqual([
      '14.40 ± 0.21',
      '11.50 ± 0.21',
      '11.70 ± 0.21',
      '11.60 ± 0.21',
      '12.60 ± 0.21',
    ]);
    expect(best('Rouge-L, sampled')).toEqual([false, false, false, false, true]);
    expect(best('Rouge-L, greedy')).toEqual([false, true, true, true, true]);
    expect(best('Forward KL per token')).toEqual([false, false, true, true, false]);
    expect(best('Response length')).toEqual([false, false, false, false, false]);
    expect(texts('Ended by itself')[1]).toBe('98.50 ± 0.20'); // a share of 0.985, in per cent
    expect(texts('Training time')[4]).toBe('1 min 52 s');
    expect(texts('Training time')[0]).toBe('–');
  });

  it('loads nothing: no address, no external reference, a policy that forbids it', () => {
    expect(text).not.toMatch(/https?:\/\//);
    expect(text).not.toMatch(/@import|url\(/);
    expect(document.querySelector('meta[http-equiv]')!.getAttribute('content')).toMatch(
      /^default-src 'none'/,
    );
    expect(document.querySelectorAll('link, img, iframe, object, embed, [src]')).toHaveLength(0);
    for (const a of document.querySelectorAll('[href]')) expect(a.getAttribute('href')).toMatch(/^#/);
    for (const a of document.querySelectorAll('nav a'))
      expect(document.getElementById(a.getAttribute('href')!.slice(1))).not.toBeNull();
  });

  it('writes each figure as a valid SVG of its own and its numbers as CSV', () => {
    const folder = path.join(root, 'page', 'report-files');
    expect(files.every((file) => path.dirname(file) === folder && existsSync(file))).toBe(true);
    const svgs = files.filter((file) => file.endsWith('.svg'));
    expect(svgs.length).toBe(document.querySelectorAll('figure svg').length);
    for (const file of svgs) {
      const svg = readFileSync(file, 'utf8');
      checkXml(svg);
      expect(svg).toContain('<svg xmlns="http://www.w3.org/2000/svg"');
      expect(svg).not.toMatch(/var\(|currentColor/); // nothing that only the page defines
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    }
    const rouge = readFileSync(path.join(folder, 'comparison-rouge_l_sampled.csv'), 'utf8').split('\r\n');
    expect(rouge[0]).toBe('run,method,mean,stderr,n,low,high');
    expect(rouge[5]!.split(',').slice(0, 5)).toEqual(['MiniLLM', 'minillm', '12.6', '0.21', '5']);
    const all = readFileSync(path.join(folder, 'comparison.csv'), 'utf8');
    expect(all).toContain('MiniLLM,minillm,train_seconds,112,,1,,\r\n');
    // 5 runs with 14 metrics each, 4 of them with seconds and steps, and the header.
    expect(all.trimEnd().split('\r\n')).toHaveLength(5 * 14 + 4 * 2 + 1);
  });

  it('has the logged values in the curve files, row for row', () => {
    const csv = readFileSync(path.join(root, 'page/report-files/training-reverse_kl.csv'), 'utf8')
      .trimEnd()
      .split('\r\n');
    const logged = readFileSync(path.join(root, 'runs/minillm/metrics.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const expected = logged
      .filter((row) => 'reverse_kl' in row)
      .map((row) => `MiniLLM,MiniLLM,train,${row.step},${row.reverse_kl}`);
    expect(expected).toHaveLength(60);
    expect(csv.slice(1).map((line) => line.split(',').slice(0, 5).join(','))).toEqual(expected);
  });

  it('gives the same bytes again', () => {
    writeReport([path.join(root, 'runs')], out);
    expect(readFileSync(out, 'utf8')).toBe(text);
  });

  it('takes single runs too, and keeps two of the same name apart', () => {
    const run = path.join(root, 'runs', 'minillm');
    const { runs } = writeReport([run, run, path.join(root, 'runs', 'kd')], path.join(root, 'other.html'));
    expect(runs).toEqual(['MiniLLM (minillm)', 'MiniLLM (minillm) 2', 'KD']);
  });

  it('is what `minillm report` writes, with JSON about it alone on standard output', () => {
    const other = path.join(root, 'cli.html');
    const stdout = execFileSync(
      process.execPath,
      ['--import', 'tsx', 'test/report/reportCli.ts', path.join(root, 'runs'), '--out', other, '--json'],
      {
        encoding: 'utf8',
      },
    );
    expect(JSON.parse(stdout)).toMatchObject({
      out: other,
      runs: ['Teacher', 'SFT', 'KD', 'BabyLlama', 'MiniLLM'],
    });
    expect(readFileSync(other, 'utf8')).toBe(text.replaceAll('report-files/', 'cli-files/'));
  });
});

// biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholder is part of the attack
const hostile = '</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\u2028"\'&amp;${1}`';

describe('writeReport of hostile runs', () => {
  it('keeps hostile text text, wherever it stands', () => {
    mkdirSync(path.dirname(out));
    for (const [name, method] of [
      ['a', 'sft'],
      ['b', 'teacher'],
    ] as const) {
      const number = { mean: 1, stderr: 0.1, n: 3 };
      put(
        `runs/${name}/evaluation.json`,
        JSON.stringify({
          model: hostile + name,
          method,
          metrics: { rouge_l_sampled: number, [hostile]: number },
        }),
      );
      put(
        `runs/${name}/metrics.jsonl`,
        `${JSON.stringify({ step: 1, phase: hostile, [hostile]: 1, [`valid_${hostile}`]: 2, loss: 1, constructor: 3, '../../escape': 4 })}\n{"step":2,"phase":"t","__proto__":5,"loss":2}\n`,
      );
      put(`runs/${name}/environment.json`, JSON.stringify({ [hostile]: hostile + name, backend: hostile }));
      put(
        `runs/${name}/config.resolved.yaml`,
        JSON.stringify({ student: hostile, teacher: [hostile], note: hostile + name }),
      );
      put(
        `runs/${name}/samples/eval.jsonl`,
        `${JSON.stringify({ index: 0, prompt: hostile, reference: hostile, text: hostile, tokens: [hostile], logprobs: [-1], teacher_logprobs: [-2], finished: true })}\n`,
      );
    }
    writeReport([path.join(root, 'runs')], out);
    const document = dom();
    // The page's own elements and no others.
    expect([...document.querySelectorAll('script')].map((s) => s.id || 'page')).toEqual([
      'sample-data',
      'page',
    ]);
    expect(document.querySelectorAll('img, [onerror]')).toHaveLength(0);
    const data = JSON.parse(document.getElementById('sample-data')!.textContent!);
    expect(data.prompts[0].prompt).toBe(hostile);
    expect(data.prompts[0].responses[1]).toEqual({
      text: hostile,
      finished: true,
      tokens: [[hostile, -1, -2]],
    });
    expect(document.querySelector('.comparison thead')!.textContent).toContain(hostile);
    expect(document.querySelector('#configuration pre')!.textContent).toContain('alert(1)');
    const names = readdirSync(path.join(root, 'page', 'report-files'));
    expect(names.every((name) => /^[A-Za-z0-9_-]+\.(svg|csv)$/.test(name))).toBe(true);
    for (const name of names.filter((n) => n.endsWith('.svg')))
      checkXml(readFileSync(path.join(root, 'page/report-files', name), 'utf8'));
    expect(readdirSync(root).sort()).toEqual(['page', 'runs']);
  });
});

describe('writeReport of incomplete runs', () => {
  it('makes a page of a run in progress: torn line, no evaluation, samples of the last validation', () => {
    mkdirSync(path.dirname(out));
    put('run/config.resolved.yaml', 'method: minillm\ntrain:\n  steps: 100\n');
    put(
      'run/metrics.jsonl',
      '{"step":1,"phase":"train","loss":2,"reverse_kl":1}\n{"step":2,"phase":"train","loss":null,"_nonfinite":["loss"],"reverse_kl":0.9}\n{"step":3,"ph',
    );
    put('run/samples/step-9.jsonl', '{"index":0,"prompt":"p","reference":"r","text":"old"}\n');
    put('run/samples/step-10.jsonl', '{"index":0,"prompt":"p","reference":"r","text":"new"}\nnot json\n');
    const { notes, runs } = writeReport([path.join(root, 'run')], out);
    expect(runs).toEqual(['MiniLLM']);
    expect(notes).toEqual([
      'MiniLLM: metrics.jsonl: 1 line could not be read',
      'MiniLLM: samples/step-10.jsonl: 1 line could not be read',
      'MiniLLM: no evaluation.json yet',
      'MiniLLM: stopped or still running: step 2 of 100',
    ]);
    const document = dom();
    expect(document.querySelector('#comparison')!.textContent).toContain('No run has been evaluated yet');
    expect(document.querySelectorAll('#curves figure').length).toBe(2);
    expect(
      JSON.parse(document.getElementById('sample-data')!.textContent!).prompts[0].responses[0].text,
    ).toBe('new');
    expect(document.querySelector('#samples')!.textContent).toContain('step-10 (validation)');
  });

  it('makes a page of an evaluation alone, of nothing but a configuration, and of damaged files', () => {
    mkdirSync(path.dirname(out));
    put(
      'e/evaluation.json',
      '{"model":"Only","method":"kd","metrics":{"rouge_l_sampled":{"mean":1,"stderr":null,"n":1},"odd":{"mean":null},"worse":7}}',
    );
    put('c/config.resolved.yaml', 'method: sft\n');
    put('d/evaluation.json', '[1,2');
    put('d/config.resolved.yaml', '{"a": [}');
    put('d/environment.json', '"text"');
    put('d/metrics.jsonl', '[]\n{"step":"x"}\n{"step":null}\n');
    const { runs, notes } = writeReport(
      ['e', 'c', 'd'].map((name) => path.join(root, name)),
      out,
    );
    expect(runs).toEqual(['Only', 'SFT', 'd']);
    expect(notes).toContain('d: evaluation.json is not a JSON object');
    expect(notes).toContain('d: config.resolved.yaml is not a YAML mapping');
    expect(notes).toContain('d: metrics.jsonl: 3 lines could not be read');
    expect(dom().querySelectorAll('main > section')).toHaveLength(5);
    expect(dom().querySelector('#samples')!.textContent).toContain('No samples were saved');
  });

  it('refuses what is no run, and a page that cannot be written, in one line', () => {
    mkdirSync(path.join(root, 'empty'));
    put('run/evaluation.json', '{}');
    const run = path.join(root, 'run');
    const line = (dirs: string[], file = path.join(root, 'r.html')): string => {
      try {
        writeReport(dirs, file);
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
        expect((error as Error).message).not.toContain('\n');
        return (error as Error).message;
      }
      throw new Error('was accepted');
    };
    expect(line([path.join(root, 'absent')])).toContain('no such directory');
    expect(line([path.join(root, 'empty')])).toContain('holds no run');
    expect(line([path.join(run, 'evaluation.json')])).toContain('no such directory');
    expect(line([])).toContain('no run directory given');
    expect(line([run], root)).toContain('is a directory');
    expect(line([run], path.join(run, 'evaluation.json', 'x.html'))).toContain('cannot be written');
    expect(readdirSync(root).sort()).toEqual(['empty', 'run']);
  });
});
