/**
 * How the cost of sampling, scoring and training grows on this machine, where the time of a MiniLLM round goes, and how near
 * the matrix product's own speed all of it is, in one run:
 *
 *     npm run bench:scaling                 # several minutes on two quiet cores
 *     npm run bench:scaling -- --quick      # a check that it works; writes to runs/bench-scaling-quick
 *
 * Needs the native engine with our kernels. Random weights and ids. Writes scaling.csv, scaling.json, scaling.svg and
 * scaling.md to results/. Options: --repeat N (5; quick 1), --threads N (2), --results DIR.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { aligned } from '../../src/runs/alignedText.js';
import { initBackend } from '../../src/tensor/backend.js';
import { engineName } from '../../src/tensor/kernels.js';
import { requireNative } from './compare.js';
import { measuredOn } from './measuredOn.js';
import { root } from './processes.js';
import { measureRoofline } from './roofline.js';
import { measureRound, type RoundSizes } from './roundShares.js';
import { axisNames, type Grid, measureAxis, type ScalingPoint, scaledWorks } from './scalingPoints.js';
import { type Findings, fits, markdown, scalingCsv, scalingFigure, scalingTables } from './scalingTables.js';

const full: { grid: Grid; round: RoundSizes } = {
  grid: {
    base: { batch: 16, length: 128, vocabulary: 4096, layers: 4, width: 256 },
    axes: {
      batch: [4, 8, 16, 32, 64],
      length: [32, 64, 128, 256, 512],
      vocabulary: [1024, 2048, 4096, 8192, 16384],
      layers: [1, 2, 4, 8, 16],
      width: [64, 128, 256, 512, 768],
    },
    promptLen: 32,
    headSize: 64,
  },
  round: {
    student: { layers: 4, hiddenSize: 256, heads: 4, vocabSize: 4096 },
    teacher: { layers: 6, hiddenSize: 384, heads: 6 },
    sizes: { batch: 64, promptLen: 32, maxResponse: 64, minibatch: 16, inner: 4, ptLen: 96 },
  },
};
const quick: typeof full = {
  grid: {
    base: { batch: 4, length: 32, vocabulary: 512, layers: 2, width: 64 },
    axes: {
      batch: [2, 4, 8],
      length: [16, 32, 64],
      vocabulary: [256, 512, 1024],
      layers: [1, 2, 4],
      width: [32, 64, 128],
    },
    promptLen: 8,
    headSize: 32,
  },
  round: {
    student: { layers: 2, hiddenSize: 64, heads: 2, vocabSize: 512 },
    teacher: { layers: 2, hiddenSize: 96, heads: 3 },
    sizes: { batch: 8, promptLen: 8, maxResponse: 16, minibatch: 4, inner: 2, ptLen: 24 },
  },
};

/** Runs of every product that the roofline is looked for in. */
const PRODUCTS = 10;

function options() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      repeat: { type: 'string' },
      threads: { type: 'string', default: '2' },
      results: { type: 'string' },
    },
  });
  const count = (name: 'repeat' | 'threads', text: string): number => {
    const n = Number(text);
    if (!Number.isInteger(n) || n < 1)
      throw new Error(`--${name} ${text}: expected a whole number of at least 1`);
    return n;
  };
  const own = fileURLToPath(new URL('results', import.meta.url));
  return {
    quick: values.quick,
    repeat: count('repeat', values.repeat ?? (values.quick ? '1' : '5')),
    threads: count('threads', values.threads),
    results: values.results ?? (values.quick ? join(root, 'runs/bench-scaling-quick') : own),
  };
}

async function main(): Promise<void> {
  const { repeat, threads, results, ...given } = options();
  const backend = await initBackend({ threads });
  requireNative(backend, engineName() === 'tensorflow');
  const { grid, round } = given.quick ? quick : full;
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const from = performance.now();
  const first = measureRoofline(PRODUCTS);
  const points: ScalingPoint[] = [];
  for (const work of scaledWorks) {
    for (const axis of axisNames) {
      points.push(...(await measureAxis(work, axis, grid, repeat)));
      say(`${work}, ${axis}: ${((performance.now() - from) / 1000).toFixed(0)} s so far`);
    }
  }
  const parts = await measureRound(round, given.quick ? 1 : 3);
  const last = measureRoofline(PRODUCTS);
  const roofline = first.gflops > last.gflops ? first : last;
  const findings: Findings = { base: grid.base, points, roofline, round: parts };
  const seconds = Math.round((performance.now() - from) / 1000);
  const measured = { ...measuredOn(backend), repeat, seconds };
  const tables = scalingTables(findings);
  mkdirSync(results, { recursive: true });
  const write = (ending: string, text: string): void =>
    writeFileSync(join(results, `scaling.${ending}`), text);
  const json = { measured, ...findings, round: { ...round, seconds: parts }, fits: fits(points) };
  write('json', `${JSON.stringify(json, null, 2)}\n`);
  write('csv', scalingCsv(findings));
  write('svg', scalingFigure(findings));
  write('md', markdown(tables));
  for (const { title, head, rows } of tables)
    process.stdout.write(`${title}:\n${aligned([head, ...rows])}\n\n`);
  process.stdout.write(`${seconds} s; written to ${results}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main().catch((error: Error) => {
    process.stderr.write(`bench:scaling: ${error.message}\n`);
    process.exitCode = 1;
  });
}
