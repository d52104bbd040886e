import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../../../src/errors.js';
import { parseWorld } from '../../../../src/oracle/worldFile.js';
import type { Rng } from '../../../../src/random/streams.js';
import { readTrainConfig, stringifyConfig } from '../../../../src/runs/runConfig.js';
import { readSweep } from '../../../../src/runs/sweepConfig.js';
import { numbers, pick, strings } from '../hostile.js';
import { mutateJson, mutateText } from '../mutate.js';
import { filesOf, type Target } from '../target.js';

const fields = [
  'method',
  'student',
  'teacher',
  'data.train',
  'train.lr',
  'train.steps',
  'objective.alpha',
  'eval.metrics',
  'data.template_args',
  'teacher.url',
  'student.hidden_size',
  '__proto__.x',
  'constructor',
  'a.b.c',
  '',
  '.',
  'train',
];

/** `--set` with a field that may be none and a value that may be anything. */
const setting = (rng: Rng): string =>
  `${pick(rng, fields)}${rng() < 0.9 ? '=' : ''}${pick(rng, rng() < 0.5 ? numbers : strings)}`;

export const configurationTargets: Target[] = [
  ...['minillm', 'distillm'].map((method) =>
    filesOf({
      name: `training configuration (${method})`,
      weight: 2,
      from: (world) => world.configs,
      files: { [`${method}.yaml`]: mutateText },
      read: async (directory) =>
        stringifyConfig(await readTrainConfig(join(directory, `${method}.yaml`), [])),
    }),
  ),
  {
    name: '--set',
    weight: 1,
    open: (world) => (rng) => {
      const sets = Array.from({ length: 1 + Math.floor(rng() * 2) }, () => setting(rng));
      const file = join(world.configs, 'minillm.yaml');
      return {
        how: sets.map((set) => JSON.stringify(set.slice(0, 60))).join(' '),
        names: [file, '--set'],
        run: () => readTrainConfig(file, sets),
      };
    },
  },
  filesOf({
    name: 'sweep',
    weight: 1,
    from: (world) => world.configs,
    files: { 'sweep.yaml': mutateText, 'minillm.yaml': mutateText },
    read: (directory) => readSweep(join(directory, 'sweep.yaml')),
  }),
  filesOf({
    name: 'small world of the oracle',
    weight: 1,
    from: (world) => world.data,
    files: { 'world.json': mutateJson },
    read(directory) {
      const file = join(directory, 'world.json');
      let value: unknown;
      try {
        value = JSON.parse(readFileSync(file, 'utf8'));
      } catch {
        throw new UsageError(`${file}: not JSON`); // as the command says it
      }
      parseWorld(value, file);
    },
  }),
];
