/**
 * The table and figures of the experiment: `node experiments/rewards/tables.ts OUT`. Samples answers of the teacher, of the student
 * that the runs began as, and of every trained one to OUT/data/broader-test.jsonl. Writes OUT/rewards.csv, curves.csv, reward.svg,
 * reverse-kl.svg, length.svg.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadExamples } from '../../src/data/examples.js';
import { evaluate } from '../../src/evaluation/evaluate.js';
import { summarize } from '../../src/evaluation/metrics/statistics.js';
import { loadModel } from '../../src/models/checkpoint.js';
import { meanAndDeviation } from '../../src/report/entries.js';
import { csv } from '../../src/report/escape.js';
import { standaloneSvg } from '../../src/report/figure.js';
import { type Line, linePanel } from '../../src/report/linePanel.js';
import { lineColor } from '../../src/report/palette.js';
import { readMetrics } from '../../src/runs/metricsLog.js';
import type { SweepRow } from '../../src/runs/sweepResults.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import partOfSpeech from './partOfSpeech.js';

const [out] = process.argv.slice(2) as [string];
await initBackend({ threads: 1 });
const models = fileURLToPath(new URL('../wordnet', import.meta.url));
const tokenizer = await loadTokenizer(join(models, 'student'));
const { examples } = await loadExamples(join(out, 'data', 'broader-test.jsonl'), tokenizer, {
  template: 'plain',
  maxPromptTokens: 48,
  maxTokens: 80,
  keepRows: true,
});
const teacher = await loadModel(join(models, 'teacher'));

const measures = [
  ...['reward', 'exact_match', 'reverse_kl_seq', 'length', 'different_answers', 'commonest_answer'],
] as const;
type Measured = Record<(typeof measures)[number], number> & { answer: string };

/** What a model answers to the test requests, one sample each; shares in per cent. Kept beside the model. */
async function measure(directory: string, kept: string): Promise<Measured> {
  if (existsSync(kept)) return JSON.parse(readFileSync(kept, 'utf8')) as Measured;
  const model = await loadModel(directory);
  const { metrics, samples } = evaluate(model, teacher, tokenizer, examples, {
    metrics: ['exact_match_sampled', 'reverse_kl_seq', 'length'],
    seeds: [10],
    maxNewTokens: 16,
    batchSize: 100,
    eosIds: model.config.eosIds,
  });
  disposeParams(model.params);
  const responses = samples.map(({ responseIds }) =>
    tokenizer.decode(responseIds, { skipSpecial: true }).trim(),
  );
  const rows = samples.map(({ promptIndex }) => examples[promptIndex]!.row!);
  const counts = new Map<string, number>();
  for (const text of responses) counts.set(text, (counts.get(text) ?? 0) + 1);
  const [answer, most] = [...counts].sort(([, a], [, b]) => b - a)[0]!;
  const share = (n: number): number => (100 * n) / responses.length;
  const found: Measured = {
    reward: summarize(partOfSpeech({ responses, rows })).mean,
    exact_match: metrics.exact_match_sampled!.mean,
    reverse_kl_seq: metrics.reverse_kl_seq!.mean,
    length: metrics.length!.mean,
    different_answers: share(counts.size),
    commonest_answer: share(most),
    answer,
  };
  writeFileSync(kept, `${JSON.stringify(found, null, 2)}\n`);
  return found;
}

const { runs } = JSON.parse(readFileSync(join(out, 'runs', 'sweep.json'), 'utf8')) as { runs: SweepRow[] };
const variants = [...new Set(runs.map(({ fields }) => String(fields.variant)))];
const of = (variant: string): SweepRow[] => runs.filter(({ fields }) => fields.variant === variant);

const line = (name: string, all: readonly Measured[]): (string | number | null)[] => [
  ...[name, all.length],
  ...measures.flatMap((measure) => {
    const { mean, stderr } = summarize(all.map((one) => one[measure]));
    return [mean, stderr];
  }),
  all.map(({ answer }) => answer).join(' / '),
];
const table = [
  line('the teacher', [await measure(join(models, 'teacher'), join(out, 'teacher.json'))]),
  line('before training', [await measure(join(models, 'student'), join(out, 'student.json'))]),
];
for (const variant of variants) {
  const all: Measured[] = [];
  for (const { directory } of of(variant))
    all.push(await measure(join(directory, 'final'), join(directory, 'answers.json')));
  table.push(line(variant, all));
}
disposeParams(teacher.params);
const head = measures.flatMap((name) => [name, 'stderr']);
writeFileSync(join(out, 'rewards.csv'), csv(['trained on', 'runs', ...head, 'commonest'], table));

/** Optimizer steps whose means make one point. */
const WIDTH = 10;
const quantities = {
  task_reward_part_of_speech: ['reward', 'Reward: the asked part of speech'],
  reverse_kl_sequence: ['reverse-kl', 'Reverse KL, nats per response'],
  response_length: ['length', 'Length, tokens with the end token'],
} as const;
const curves = variants.flatMap((variant) =>
  Object.keys(quantities).flatMap((quantity) => {
    const perRun = of(variant).map(({ directory }) => {
      const steps = readMetrics(join(directory, 'metrics.jsonl')).filter(({ phase }) => phase === 'train');
      return steps.map((row) => row[quantity] as number);
    });
    const points = Math.floor(Math.min(...perRun.map(({ length }) => length)) / WIDTH);
    return Array.from({ length: points }, (_, i) => {
      const means = perRun.map((values) => summarize(values.slice(i * WIDTH, (i + 1) * WIDTH)).mean);
      return { variant, quantity, step: (i + 1) * WIDTH, ...meanAndDeviation(means), runs: means.length };
    });
  }),
);
writeFileSync(
  join(out, 'curves.csv'),
  csv(
    ['trained on', 'quantity', 'step', 'mean', 'deviation', 'runs'],
    curves.map(({ variant, quantity, step, mean, deviation, runs }) => [
      ...[variant, quantity, step],
      ...[mean, deviation, runs],
    ]),
  ),
);
for (const [quantity, [file, title]] of Object.entries(quantities)) {
  const lines = variants.map((variant, i): Line => {
    const { stroke, dashed } = lineColor(i + 1);
    const points = curves
      .filter((point) => point.variant === variant && point.quantity === quantity)
      .map(({ step, mean, deviation }) => ({ x: step, mean, low: mean - deviation, high: mean + deviation }));
    return { label: variant, color: stroke, dashed, points };
  });
  const { svg } = linePanel(lines, { name: file, title, xLabel: 'optimizer steps', csv: '' });
  writeFileSync(join(out, `${file}.svg`), standaloneSvg(svg));
}
