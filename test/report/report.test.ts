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

// biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholder is part of the attack
const hostile = '</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\u2028"\'&amp;${1}`';

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
      'differences',
      'hacking',
      'distributions',
      'exposure',
      'calibration',
      'curves',
      'samples',
      'configuration',
    ]);
    const came = [...document.querySelectorAll('.outcome li')].map((li) => li.textContent);
    expect(came[0]).toMatch(
      /^MiniLLM raises sampled Rouge-L most against SFT, by \d\.\d+ \(95\u00a0% interval /,
    );
    expect(came[1]).toMatch(/^MiniLLM lowers the reverse KL of a response most against SFT, by .* nats /);
    expect(came[2]).toMatch(
      /^KD lowers the forward KL of a token most against SFT, .*, not clearly ahead of BabyLlama\.$/,
    );
    expect(came[3]).toMatch(/^Each model was trained once/);
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

  it('shows means with intervals, marks the best and what cannot be told from it', () => {
    const rows = new Map(
      [...document.querySelectorAll('.comparison tbody tr:not(.group)')].map((tr) => {
        const [name, ...cells] = [...tr.children];
        return [name!.childNodes[0]!.textContent!.replace('\u00a0', '').trim(), cells];
      }),
    );
    const texts = (name: string) => rows.get(name)!.map((cell) => cell.textContent);
    const best = (name: string) => rows.get(name)!.map((cell) => cell.className.includes('best'));
    expect(texts('Rouge-L, sampled')).toEqual([
      '14.40 13.94–14.84',
      '11.50 11.04–11.94',
      '11.70 11.24–12.14',
      '11.60 11.14–12.04',
      '12.60 12.14–13.04',
    ]);
    expect(best('Rouge-L, sampled')).toEqual([false, false, false, false, true]);
    // No student is clearly behind: nothing in bold.
    expect(best('Rouge-L, greedy')).toEqual([false, false, false, false, false]);
    expect(best('Forward KL per token')).toEqual([false, false, true, true, false]);
    expect(best('Response length')).toEqual([false, false, false, false, false]);
    expect(texts('Ended by itself')[1]).toBe('98.50 98.06–98.92'); // a share of 0.985, in per cent
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
    for (const a of document.querySelectorAll('[href]:not(figcaption a)'))
      expect(a.getAttribute('href')).toMatch(/^#/);
    const links = [...document.querySelectorAll('figcaption a')].map((a) => a.getAttribute('href')!);
    expect(new Set(links).size).toBe(2 * document.querySelectorAll('figure').length);
    for (const link of links) expect(existsSync(path.join(root, 'page', link)), link).toBe(true);
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
    // 5 runs with 15 metrics each, 4 of them with one more, with seconds and steps, and the header.
    expect(all.trimEnd().split('\r\n')).toHaveLength(5 * 15 + 4 * 3 + 1);
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

  it('ranks the models by the main metrics, the teacher on top', () => {
    const table = document.querySelector('.rank')!;
    const heads = [...table.querySelectorAll('thead th')].map((th) => th.textContent!.replace('\u00a0', ' '));
    expect(heads.slice(0, 4)).toEqual([
      ...['Model', 'Rouge-L sampled ↑', 'Rouge-L greedy ↑', 'LM loss ↓nats/token'],
    ]);
    expect([...table.querySelectorAll('tbody')].map((body) => body.children.length)).toEqual([1, 4]);
    const minillm = [...table.querySelectorAll('tbody tr')].at(-1)!;
    expect(minillm.children[1]!.textContent).toBe('12.60 12.14–13.04');
    expect(minillm.children[1]!.className).toBe('best');
    expect(minillm.children[1]!.getAttribute('title')).toBe(
      'MiniLLM: Rouge-L, sampled 12.60, 95 % interval 12.14 to 13.04 over prompts',
    );
  });

  it('sets MiniLLM against the others on the same prompts', () => {
    expect(document.querySelector('#differences h2')!.textContent).toBe('MiniLLM against the others');
    const csv = readFileSync(path.join(root, 'page/report-files/difference-rouge_l_sampled.csv'), 'utf8');
    const own = (name: string): number[] =>
      JSON.parse(readFileSync(path.join(root, 'runs', name, 'evaluation.json'), 'utf8')).per_prompt
        .rouge_l_sampled;
    const [a, b] = [own('minillm'), own('kd')];
    const mean = a.reduce((sum, x, i) => sum + x - b[i]!, 0) / a.length;
    const row = csv.split('\r\n').find((line) => line.startsWith('MiniLLM,KD,'))!;
    const [, , difference, , n, low, high] = row.split(',').map(Number);
    expect(difference).toBeCloseTo(mean, 10);
    expect(n).toBe(200);
    expect(low).toBeLessThan(mean);
    expect(high).toBeGreaterThan(mean);
  });

  it('draws the curves of the evaluations from their numbers', () => {
    const file = (name: string) =>
      readFileSync(path.join(root, 'page/report-files', name), 'utf8')
        .trimEnd()
        .split('\r\n')
        .slice(1);
    // Four students, thirty lengths.
    expect(file('exposure-excess.csv')).toHaveLength(120);
    expect(file('distribution-length.csv')).toHaveLength(150);
    expect(file('distribution-reward.csv')).toHaveLength(4 * 32);
    // Nine bins each: the first is empty, and its null is no number.
    expect(file('calibration-tokens.csv')).toHaveLength(45);
    const [first] = file('calibration-tokens.csv');
    expect(first).toBe('Teacher,0.15,0.15,380');
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

describe('writeReport of several training seeds', () => {
  it('takes the runs of a method together: means over seeds, bands, every run in a table of its own', () => {
    writeSyntheticRuns(path.join(root, 'runs'), {
      ...{ steps: 30, prompts: 2, seeds: [1, 2, 3] },
      methods: ['teacher', 'sft', 'minillm'],
    });
    mkdirSync(path.dirname(out));
    const { runs } = writeReport([path.join(root, 'runs')], out);
    expect(runs).toEqual(['Teacher', 'SFT', 'MiniLLM']);
    const document = dom();
    expect(document.querySelector('.lead')!.textContent).toBe(
      '2 students from 6 training runs and their teacher, evaluated on the same 200 prompts.',
    );
    const means = [1, 2, 3].map(
      (seed) =>
        JSON.parse(readFileSync(path.join(root, `runs/minillm_seed=${seed}/evaluation.json`), 'utf8')).metrics
          .rouge_l_sampled.mean as number,
    );
    const mean = means.reduce((a, b) => a + b) / 3;
    const error = Math.sqrt(means.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2 / 3);
    const cell = [...document.querySelectorAll('.rank tbody tr')].at(-1)!.children[1]!;
    expect(Number(cell.getAttribute('data-v'))).toBeCloseTo(mean, 10);
    const [, low, high] = /interval ([\d.]+) to ([\d.]+) over 3 training seeds$/.exec(
      cell.getAttribute('title')!,
    )!;
    // Student's t of two degrees of freedom, to the two decimals shown.
    expect(Number(low)).toBeCloseTo(mean - 4.303 * error, 1);
    expect(Number(high)).toBeCloseTo(mean + 4.303 * error, 1);
    const every = document.querySelector('[aria-label="Every run"] thead')!;
    expect(every.textContent).toContain('minillm_seed=2');
    // The curve: three runs in the numbers, one line with a band in the drawing.
    const csv = readFileSync(path.join(root, 'page/report-files/training-reverse_kl.csv'), 'utf8');
    expect(csv).toContain('minillm_seed=3,MiniLLM,train,30,');
    const panel = [...document.querySelectorAll('#curves figure')].find(
      (figure) => figure.querySelector('text')!.textContent === 'Reverse KL, nats per token',
    )!;
    expect(panel.querySelectorAll('svg path[fill-opacity], g[fill-opacity] path').length).toBe(1);
  });

  it('keeps runs of other settings apart, also where only the model of the same seed is named after it', () => {
    const write = (name: string, seed: number, lr: number, student: string): void => {
      put(
        `runs/${name}/evaluation.json`,
        JSON.stringify({ model: name, metrics: { lm_loss: { mean: seed, stderr: 0, n: 1 } } }),
      );
      put(
        `runs/${name}/config.resolved.yaml`,
        `method: kd\nseed: ${seed}\nstudent: ${student}\ntrain: {lr: ${lr}}\n`,
      );
    };
    write('kd-1', 1, 0.1, '/m/sft-1/best');
    write('kd-2', 2, 0.1, '/m/sft-2/best');
    write('slow-1', 1, 0.01, '/m/sft-1/best');
    write('wide-1', 1, 0.1, '/m/wide-1/best');
    write('kd-again-1', 1, 0.1, '/m/sft-1/best');
    // The digit of a name is no seed.
    write('same_seed-1', 1, 0.5, '/m/table1/best');
    write('same_seed-2', 2, 0.5, '/m/table1/best');
    mkdirSync(path.dirname(out));
    expect(writeReport([path.join(root, 'runs')], out).runs).toEqual([
      'KD',
      'kd-again-1',
      'same',
      'slow-1',
      'wide-1',
    ]);
  });
});

describe('writeReport with estimators', () => {
  const measured = {
    signal_to_noise_target: 2,
    estimators: [
      { name: 'sampled/none', returns: 'sampled', rollouts_needed: { value: 900, interval: [700, 1200] } },
      {
        name: 'rao-blackwell/position',
        returns: 'rao-blackwell',
        rollouts_needed: { value: 300, interval: [200, null] },
      },
      { name: 'preset/lmops', returns: 'sampled', rollouts_needed: { value: null, interval: [400, null] } },
      { name: hostile, returns: 'sampled', rollouts_needed: 7 },
    ],
  };
  const exact = {
    estimators: [
      {
        returns: 'sampled',
        baseline: 'none',
        importance: 'none',
        alpha: 0,
        single_step: true,
        samples: 1,
        relative_bias: 1e-14,
        variance: 8,
      },
      {
        returns: 'sampled',
        baseline: 'leave-one-out',
        importance: 'token',
        alpha: 0.2,
        single_step: false,
        samples: 4,
        relative_bias: 0.1,
        variance: 2,
      },
    ],
  };

  it('shows what lies in the directory and what is named, measured and exact', () => {
    put('runs/kd/evaluation.json', '{"model":"KD","metrics":{}}');
    put('runs/variance.json', JSON.stringify(measured));
    put('oracle.json', JSON.stringify(exact));
    mkdirSync(path.dirname(out));
    writeReport([path.join(root, 'runs')], out, [path.join(root, 'oracle.json')]);
    const section = dom().querySelector('#variance')!;
    expect([...section.querySelectorAll('svg')].map((svg) => svg.getAttribute('aria-label'))).toEqual([
      'Variance of one sample’s gradient, by enumeration: sampled leave-one-out token α 0.2 K 4 no single step 2, sampled 8',
      'Rollouts needed for a signal-to-noise ratio of 2: rao-blackwell/position 300, sampled/none 900, preset/lmops –',
    ]);
    for (const svg of section.querySelectorAll('svg')) checkXml(svg.outerHTML.replaceAll('&nbsp;', ' '));
  });

  it('refuses a named file that is absent or holds none; notes one that lies there', () => {
    put('runs/kd/evaluation.json', '{"model":"KD","metrics":{}}');
    put('runs/variance.json', '{"estimators": [1, {}]}');
    mkdirSync(path.dirname(out));
    const { notes } = writeReport([path.join(root, 'runs')], out);
    expect(notes[0]).toMatch(/^KD: .*variance\.json: holds no estimators; expected what minillm variance/);
    const named = (file: string) => () =>
      writeReport([path.join(root, 'runs')], out, [path.join(root, file)]);
    expect(named('absent.json')).toThrow(UsageError);
    expect(named('runs/variance.json')).toThrow('holds no estimators');
  });
});

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
