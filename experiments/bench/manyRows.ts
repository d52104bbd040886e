/**
 * Training data larger than memory: how long its index takes, what it holds in memory, and what a batch costs, against the same in
 * memory. Each in a process of its own, on a file of random instruction rows that is written for it and removed.
 *
 *     npm run bench:rows                        # 10 million rows, 1.9 GB on the disk of the temporary directory
 *     npm run bench:rows -- --rows 100000       # both ways, with the same batches
 *
 * In memory at most 300,000 rows are measured. Options: --rows N, --json.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openExamples } from '../../src/data/storedExamples.js';
import { integer, stream } from '../../src/random/streams.js';
import { aligned } from '../../src/runs/alignedText.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { batchIndices } from '../../src/training/order.js';

const MOST_IN_MEMORY = 300_000;
const BATCH = 32;
const words =
  'the a cat otter river swims small under old stone finds water light who when runs far tree bird sings near house'.split(
    ' ',
  );

interface Measured {
  examples: number;
  seconds: number;
  /** Processor time of the index: on a busy machine the better measure. */
  cpu_s: number;
  rss_mb: number;
  batch_ms: number;
  digest: string;
}

function writeRows(file: string, count: number): void {
  const rng = stream(1, 'rows');
  const said = (n: number): string =>
    Array.from({ length: n }, () => words[integer(rng, words.length)]).join(' ');
  const out = openSync(file, 'w');
  let text = '';
  for (let i = 0; i < count; i++) {
    text += `${JSON.stringify({ instruction: `${said(10)} ${i}`, input: '', output: said(16) })}\n`;
    if (text.length > 2 ** 20 || i === count - 1) {
      writeSync(out, text);
      text = '';
    }
  }
  closeSync(out);
}

async function measure(kind: string, file: string): Promise<Measured> {
  const tokenizer = await loadTokenizer(fileURLToPath(new URL('../wordnet/student', import.meta.url)));
  const limit = kind === 'disk' ? -1 : Number.POSITIVE_INFINITY;
  const started = performance.now();
  const before = process.cpuUsage();
  const { examples } = await openExamples(
    file,
    tokenizer,
    { template: 'plain', maxPromptTokens: 256, maxTokens: 512 },
    { jsonl: limit, parquet: limit },
  );
  const seconds = (performance.now() - started) / 1000;
  const spent = process.cpuUsage(before);
  const cpu_s = (spent.user + spent.system) / 1e6;
  const hash = createHash('sha256');
  const batches = 200;
  batchIndices(1, 'train', 0, examples.length, BATCH); // the order of the epoch is made once
  const begun = performance.now();
  for (let step = 0; step < batches; step++)
    for (const i of batchIndices(1, 'train', step, examples.length, BATCH)) {
      const { promptIds, responseIds } = examples.at(i)!;
      hash.update(promptIds).update(responseIds);
    }
  const batch_ms = (performance.now() - begun) / batches;
  const rss_mb = Math.round(process.resourceUsage().maxRSS / 1024);
  return { examples: examples.length, seconds, cpu_s, rss_mb, batch_ms, digest: hash.digest('hex') };
}

function compare(rows: number, json: boolean): void {
  const directory = mkdtempSync(join(tmpdir(), 'minillm-many-rows-'));
  try {
    const found: Record<string, Measured & { mb: number }> = {};
    for (const [kind, count] of [
      ['memory', Math.min(rows, MOST_IN_MEMORY)],
      ['disk', rows],
    ] as const) {
      const file = join(directory, `${count}.jsonl`);
      writeRows(file, count);
      const script = fileURLToPath(import.meta.url);
      const said = execFileSync(process.execPath, ['--import', 'tsx', script, '--measure', kind, file], {
        encoding: 'utf8',
      });
      found[kind] = { ...(JSON.parse(said) as Measured), mb: Math.round(statSync(file).size / 2 ** 20) };
    }
    if (json) console.log(JSON.stringify(found));
    else
      console.log(
        aligned([
          ['kept in', 'rows', 'file MB', 'index s', 'of processor', 'peak RSS MB', 'batch of 32, ms'],
          ...Object.entries(found).map(([kind, m]) => [
            ...[kind, String(m.examples), String(m.mb), m.seconds.toFixed(1), m.cpu_s.toFixed(1)],
            ...[String(m.rss_mb), m.batch_ms.toFixed(2)],
          ]),
        ]),
      );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const { values, positionals } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    json: { type: 'boolean', default: false },
    measure: { type: 'string' },
  },
  allowPositionals: true,
});
if (values.measure) console.log(JSON.stringify(await measure(values.measure, positionals[0]!)));
else compare(Number(values.rows), values.json);
