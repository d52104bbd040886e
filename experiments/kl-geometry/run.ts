/**
 * kl-geometry: what forward and reverse KL keep of two modes, for a Gaussian and for a language model.
 *
 *     node --import tsx experiments/kl-geometry/run.ts OUT
 *
 * Writes OUT/gaussian.csv, gaussian.svg, language-model.csv, language-model.svg. Everything follows from config.yaml.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { summarize } from '../../src/evaluation/metrics/statistics.js';
import { csv } from '../../src/report/escape.js';
import { tick } from '../../src/report/format.js';
import { initBackend } from '../../src/tensor/backend.js';
import { gaussianFigure, kindsFigure, type NamedFit, type Shares } from './figures.js';
import { type Component, fitGaussian, mixtureProbabilities, supportPoints } from './gaussian.js';
import {
  type Answered,
  copyOf,
  disposeModel,
  examples,
  type MethodConfig,
  measure,
  newModel,
  prompts,
  type Shape,
  train,
  type World,
} from './languageModel.js';

interface Config {
  gaussian: {
    support: { from: number; to: number; points: number };
    mixture: Component[];
    starts: number[];
    steps: number;
    lr: number;
  };
  language_model: World & {
    samples: number;
    seeds: number[];
    teacher: Shape & { steps: number; lr: number };
    student: Shape & { steps: number; lr: number };
    batch_size: number;
    steps: number;
    methods: Record<string, MethodConfig>;
  };
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

function gaussian(config: Config['gaussian'], out: string): void {
  const support = supportPoints(config.support);
  const p = mixtureProbabilities(support, config.mixture);
  const rows: (string | number)[][] = [];
  const figure: NamedFit[] = [];
  for (const divergence of ['forward', 'reverse', 'jsd'] as const) {
    for (const [i, start] of config.starts.entries()) {
      const fit = fitGaussian(support, p, divergence, { ...config, start });
      rows.push([divergence, start, fit.mean, fit.deviation, fit.value]);
      say(
        `${divergence} from ${start}: mean ${fit.mean.toFixed(3)}, deviation ${fit.deviation.toFixed(3)}, ${fit.value.toFixed(3)} nats`,
      );
      if (divergence === 'forward' && i === 0)
        figure.push({ ...fit, label: 'forward KL', color: 2, dashed: false });
      if (divergence === 'reverse' && i < 2)
        figure.push({ ...fit, label: `reverse KL, from ${tick(start)}`, color: 1, dashed: i > 0 });
    }
  }
  writeFileSync(join(out, 'gaussian.csv'), csv(['divergence', 'start', 'mean', 'deviation', 'nats'], rows));
  writeFileSync(join(out, 'gaussian.svg'), gaussianFigure(support, p, figure));
}

async function languageModel(config: Config['language_model'], out: string): Promise<void> {
  const words = prompts(config);
  const data = examples(words.train, config);
  const sft = ({ steps, lr }: { steps: number; lr: number }, seed: number): MethodConfig => ({
    method: 'sft',
    seed,
    train: { steps, lr, batch_size: config.batch_size, warmup: 50 },
  });
  const judge = (model: Parameters<typeof measure>[0]): Answered =>
    measure(model, teacher, words.test, config, config.samples);
  const found: { name: string; seed: number; steps: number; seconds: number; answered: Answered }[] = [];
  const record = (
    name: string,
    seed: number,
    cost: { steps: number; seconds: number },
    answered: Answered,
  ) => {
    found.push({ name, seed, ...cost, answered });
    const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
    say(
      `${name} (seed ${seed}): copies ${percent(answered.copy)}, shifts ${percent(answered.shift)}, mixes ${percent(answered.mixed)}; reverse KL ${answered.reverse_kl.toFixed(2)}, forward KL ${answered.forward_kl.toFixed(2)}`,
    );
  };
  const teacher = newModel(config.teacher, config, 1);
  const cost = await train(teacher, undefined, data, sft(config.teacher, 1), config);
  record('teacher', 1, cost, judge(teacher));
  for (const seed of config.seeds) {
    const student = newModel(config.student, config, seed);
    record(
      'sft',
      seed,
      await train(student, undefined, data, sft(config.student, seed), config),
      judge(student),
    );
    for (const [name, fields] of Object.entries(config.methods)) {
      const model = copyOf(student);
      const own = {
        ...fields,
        seed,
        train: { steps: config.steps, batch_size: config.batch_size, ...fields.train },
      };
      record(name, seed, await train(model, teacher, data, own, config), judge(model));
      disposeModel(model);
    }
    disposeModel(student);
  }
  disposeModel(teacher);
  const names = [...new Set(found.map(({ name }) => name))];
  const fields = ['copy', 'shift', 'mixed', 'other', 'reverse_kl', 'forward_kl'] as const;
  writeFileSync(
    join(out, 'language-model.csv'),
    csv(
      ['model', 'seed', 'steps', 'seconds', ...fields],
      found.map((row) => [
        ...[row.name, row.seed, row.steps, Number(row.seconds.toFixed(1))],
        ...fields.map((field) => Number(row.answered[field].toFixed(4))),
      ]),
    ),
  );
  const mean = (name: string, field: keyof Shares): number =>
    summarize(found.filter((row) => row.name === name).map((row) => row.answered[field])).mean;
  const bars = names.map((name) => ({
    label: labels[name] ?? name,
    shares: Object.fromEntries(
      fields.slice(0, 4).map((field) => [field, mean(name, field as keyof Shares)]),
    ) as Shares,
  }));
  writeFileSync(join(out, 'language-model.svg'), kindsFigure(bars));
}

const labels: Record<string, string> = {
  teacher: 'teacher',
  sft: 'SFT (the start)',
  kd: 'KD, forward KL',
  gkd: 'GKD, JSD(½)',
  'reverse-kd': 'reverse KL on data',
  minillm: 'MiniLLM',
};

const out = process.argv[2] ?? 'runs/kl-geometry';
const config = parse(readFileSync(new URL('config.yaml', import.meta.url), 'utf8')) as Config;
mkdirSync(out, { recursive: true });
await initBackend({});
gaussian(config.gaussian, out);
await languageModel(config.language_model, out);
