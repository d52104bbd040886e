/**
 * Writes the sweeps of a setting: `node experiments/what-pays/sweeps.ts OUT SETTING tune|train`. `tune` tries every point at every learning
 * rate with one training seed, on validation prompts; `train` takes for each point the rate that was best there, and all training seeds.
 * The sweeps go to OUT/SETTING/{tune,train}.yaml, what was tried to OUT/SETTING-tune.csv. `train` also writes those of the setting's
 * variations: OUT/NAME-VALUE/train.yaml.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { stringify } from 'yaml';
import { csv } from '../../src/report/escape.js';
import type { SweepRow } from '../../src/runs/sweepResults.js';
import { points } from './points.js';
import {
  comparedOf,
  placeOf,
  type Setting,
  type SettingName,
  settings,
  tunedOf,
  type VariationName,
  variations,
} from './settings.js';

const here = fileURLToPath(new URL('.', import.meta.url));

/** What every sweep of a setting shares. @param place the setting's working directory */
function common({ base, set, inputs, steps }: Setting, place: string, more: Record<string, unknown>) {
  const paths = Object.entries(inputs).map(([field, path]) => [field, resolve(place, path)]);
  return {
    base: join(here, base),
    set: { ...set, ...Object.fromEntries(paths), ...more },
    budget: { kind: 'steps', amount: steps },
  };
}

/** The tuning budget, the same for every point: each rate, one training seed, one sample of every validation prompt after the last step. */
export function tuning(setting: Setting, place: string, tried = tunedOf(setting)): object {
  const { steps, rates } = setting;
  return {
    ...common(setting, place, { 'eval.every': steps, 'eval.metrics': ['reverse_kl_seq'] }),
    variants: tried,
    grid: { 'train.lr': rates },
  };
}

/** The runs that are compared: each point with its rate, every training seed, measured on test prompts. */
export function training(
  setting: Setting,
  place: string,
  rates: Readonly<Record<string, number>>,
  compared = comparedOf(setting),
): object {
  const { seeds, metrics, test, evaluation } = setting;
  return {
    ...common(setting, place, { 'eval.every': 0 }),
    variants: Object.fromEntries(
      Object.entries(compared).map(([name, fields]) => [name, { ...fields, 'train.lr': rates[name] }]),
    ),
    grid: { seed: seeds },
    evaluate: { data: test === 'test' ? test : resolve(place, test), model: 'final', metrics, ...evaluation },
  };
}

/**
 * The learning rate of each point by the rule written down before (README.md): the lowest reverse KL per response on validation prompts,
 * which is what every point minimises.
 */
export function chosenRates(place: string): { rates: Record<string, number>; table: string } {
  const { runs } = JSON.parse(readFileSync(join(place, 'tune', 'sweep.json'), 'utf8')) as {
    runs: SweepRow[];
  };
  const kl = (row: SweepRow): number => row.metrics.reverse_kl_seq!.mean;
  const rates: Record<string, number> = {};
  for (const name of new Set(runs.map(({ fields }) => String(fields.variant)))) {
    const tried = runs.filter(({ fields, status }) => fields.variant === name && status === 'done');
    if (tried.length === 0) throw new Error(`${place}/tune: no run of ${name} came to its end`);
    rates[name] = Number(tried.reduce((a, b) => (kl(b) < kl(a) ? b : a)).fields['train.lr']);
  }
  const lines = runs.map((row) => {
    const [name, lr] = [String(row.fields.variant), Number(row.fields['train.lr'])];
    return [name, lr, row.metrics.reverse_kl_seq?.mean, rates[name] === lr ? 'yes' : ''];
  });
  return { rates, table: csv(['point', 'lr', 'reverse_kl_seq', 'chosen'], lines) };
}

/** What a value of a variation changes in the configuration. A length of sentence is a language of its own. */
const changes: Record<VariationName, (value: number) => object> = {
  length: () => ({}),
  rollouts: (value) => ({
    ...{ 'train.batch_size': value, 'train.micro_batch_size': value, 'rollout.rollouts': 2 * value },
  }),
  tokens: (value) => ({ 'rollout.max_new_tokens': value }),
};

/** The sweeps of a setting's variations, at the learning rates that were chosen in the setting. */
function writeVariations(out: string, setting: SettingName, rates: Readonly<Record<string, number>>): void {
  for (const name of Object.keys(variations) as VariationName[]) {
    const { setting: of, others, points: compared } = variations[name];
    if (of !== setting) continue;
    for (const value of others) {
      const place = resolve(out, placeOf(name, value));
      const inputs = name === 'length' ? place : resolve(out, setting);
      const changed = compared.map((point) => [point, { ...points[point], ...changes[name](value) }]);
      const sweep = training(settings[setting], inputs, rates, Object.fromEntries(changed));
      mkdirSync(place, { recursive: true });
      writeFileSync(join(place, 'train.yaml'), stringify(sweep));
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [out, name, phase] = process.argv.slice(2) as [string, SettingName, 'tune' | 'train'];
  const place = resolve(out, name);
  mkdirSync(place, { recursive: true });
  if (phase === 'tune') writeFileSync(join(place, 'tune.yaml'), stringify(tuning(settings[name], place)));
  else {
    const { rates, table } = chosenRates(place);
    writeFileSync(`${place}-tune.csv`, table);
    writeFileSync(join(place, 'train.yaml'), stringify(training(settings[name], place, rates)));
    writeVariations(out, name, rates);
  }
}
