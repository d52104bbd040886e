import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { rowItems } from '../../../../src/data/fields.js';
import { asObject } from '../../../../src/data/jsonl.js';
import { UsageError } from '../../../../src/errors.js';
import { familyNames, familyOf, parseConfig } from '../../../../src/models/families.js';
import { parseHeader } from '../../../../src/models/safetensorsHeader.js';
import { parseWorld } from '../../../../src/oracle/worldFile.js';
import { integer, type Rng } from '../../../../src/random/streams.js';
import { readEvaluation } from '../../../../src/report/evaluationFile.js';
import { isObject } from '../../../../src/report/untrusted.js';
import { validate } from '../../../../src/runs/runConfig.js';
import { setValue } from '../../../../src/runs/setField.js';
import { trajectoryFromJson } from '../../../../src/runs/trainingState.js';
import { completionRequest, distributionRequest, Refusal } from '../../../../src/scoring/serverRequests.js';
import type { Teacher } from '../../../../src/scoring/teacher.js';
import { trainConfigSchema } from '../../../../src/training/config.js';
import { mutateBytes, mutateJson, mutateText, mutateTree } from '../mutate.js';
import type { Target } from '../target.js';
import type { World } from '../world.js';

/*
 * The parsers alone, on texts that are in memory: no disk, hence most of the cases. What stands before them in a command
 * (the file is there, it is JSON) is damaged in the targets on files.
 */

const WHERE = 'in/the-file';

/** The parsers that take a JSON value. Text that is no JSON is refused before them. */
function fromJson(options: {
  name: string;
  weight: number;
  wholes: (world: World) => unknown[];
  read: (value: unknown, rng: Rng) => unknown;
}): Target {
  const { name, weight, wholes, read } = options;
  return {
    name: `${name}, parsed`,
    weight,
    open(world) {
      const all = wholes(world).map((value) => Buffer.from(JSON.stringify(value)));
      return (rng) => {
        const { bytes, how } = mutateJson(all[integer(rng, all.length)]!, rng);
        return {
          ...{ how, names: [WHERE] },
          run() {
            let value: unknown;
            try {
              value = JSON.parse(bytes.toString('utf8'));
            } catch {
              throw new UsageError(`${WHERE}: not JSON`);
            }
            read(value, rng);
          },
        };
      };
    },
  };
}

const lines = (file: string): unknown[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
const json = (file: string): unknown => JSON.parse(readFileSync(file, 'utf8'));

const header: Target = {
  name: 'header of model.safetensors, parsed',
  weight: 18,
  open(world) {
    const file = readFileSync(join(world.student, 'model.safetensors'));
    const size = Number(file.readBigUInt64LE(0));
    const whole = file.subarray(8, 8 + size);
    const tree: unknown = JSON.parse(whole.toString('utf8'));
    return (rng) => {
      const byTree = rng() < 0.7;
      const { text, how } = byTree ? mutateTree(tree, rng) : { text: '', how: 'bytes' };
      const bytes = byTree ? Buffer.from(text) : mutateBytes(whole, rng).bytes;
      const start = 8 + bytes.length;
      return {
        ...{ how, names: [WHERE] },
        run: () => void parseHeader(bytes, start, start + file.length - 8 - size, WHERE),
      };
    };
  },
};

const teacher: Teacher = {
  ...{ vocabSize: 264, maxPositions: 64, gives: 'full' },
  logprobs: () => [],
  distributions: () => [],
};
const bodies = [
  {
    model: 'm',
    prompt: [
      [1, 2, 3],
      [4, 5],
    ],
    max_tokens: 1,
    temperature: 0,
    prompt_logprobs: 2,
    from: [1, 1],
  },
  { model: 'm', prompt: ['a', 'b'], n: 1, echo: false, prompt_logprobs: 20, from: [] },
];

const settings: Target = {
  name: 'values of --set, parsed',
  weight: 2,
  open: () => (rng) => {
    const fields = [
      'train.lr',
      'student',
      'teacher',
      'data.train',
      'eval.metrics',
      'data.template_args',
      'x.y',
    ];
    const path = fields[integer(rng, fields.length)]!.split('.');
    const { bytes, how } = mutateText(Buffer.from('{a: [1, 0.5, "x"], b: runs/d}'), rng);
    return {
      ...{ how, names: ['--set', WHERE] },
      run: () =>
        setValue(trainConfigSchema, path, bytes.toString('utf8'), (text) => {
          try {
            return parseYaml(text, { maxAliasCount: 10, logLevel: 'error' });
          } catch {
            throw new UsageError(`${WHERE}: not YAML`);
          }
        }),
    };
  },
};

export const memoryTargets: Target[] = [
  header,
  ...familyNames.map((family) =>
    fromJson({
      name: `config.json of ${family}`,
      weight: 3,
      wholes: (world) => [json(join(world.family(family), 'config.json'))],
      read(value) {
        if (!isObject(value)) throw new UsageError(`${WHERE}: expected an object`);
        const config = parseConfig(value, WHERE);
        // Every layer has its entries: that many are within the limit of the format.
        if (config.layers <= 64) familyOf(config).parameters(config);
      },
    }),
  ),
  fromJson({
    name: 'instruction rows',
    weight: 39,
    wholes: ({ data }) =>
      ['shapes.jsonl', 'turns.jsonl', 'chat.jsonl'].flatMap((name) => lines(join(data, name))),
    read: (value) => rowItems(asObject(value, WHERE), WHERE),
  }),
  fromJson({
    name: 'rollouts of a checkpoint',
    weight: 10,
    wholes: ({ runs }) =>
      lines(join(runs.minillm, 'checkpoints', '4', 'training-state', 'rollouts.jsonl')).slice(0, 4),
    read: (value) => trajectoryFromJson(value, WHERE),
  }),
  fromJson({
    name: 'training configuration',
    weight: 4,
    wholes: ({ configs }) =>
      ['minillm', 'distillm', 'seqkd'].map((name) =>
        parseYaml(readFileSync(join(configs, `${name}.yaml`), 'utf8')),
      ),
    read: (value) => validate(trainConfigSchema, value, WHERE),
  }),
  fromJson({
    name: 'small world of the oracle',
    weight: 4,
    wholes: ({ data }) => [json(join(data, 'world.json'))],
    read: (value) => parseWorld(value, WHERE),
  }),
  fromJson({
    name: 'evaluation.json',
    weight: 4,
    wholes: ({ runs }) => [json(join(runs.minillm, 'evaluation.json'))],
    read: (value) => isObject(value) && readEvaluation(value),
  }),
  fromJson({
    name: 'server requests',
    weight: 30,
    wholes: () => bodies,
    read(value, rng) {
      const body = asObject(value, WHERE);
      try {
        if (rng() < 0.5) completionRequest(body, teacher, undefined);
        else distributionRequest(body, teacher);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        throw new UsageError(`${WHERE}: ${error.message}`);
      }
    },
  }),
  settings,
];
