import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { readTrainConfig, stringifyConfig, trainConfigFrom } from '../../src/runs/runConfig.js';
import type { TrainConfigInput } from '../../src/training/config.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const place = temporaryDirectory('run-config');
afterAll(place.remove);
for (const name of ['student', 'teacher']) mkdirSync(join(place.path, name));
for (const name of ['train.jsonl', 'valid.jsonl', 'other.jsonl']) writeFileSync(join(place.path, name), '');
const file = join(place.path, 'config.yaml');
writeFileSync(
  file,
  `method: minillm
student: student
teacher: teacher
data: { train: train.jsonl, valid: valid.jsonl }
train: { steps: 10, lr: 1.0e-3 }
objective: { preset: paper, length_norm: true }
`,
);
const at = (name: string): string => join(place.path, name);

describe('a training configuration', () => {
  it('paths are relative to the file; every default is written out', async () => {
    const config = await readTrainConfig(file, []);
    expect(config).toMatchObject({ seed: 1, student: at('student'), teacher: at('teacher') });
    expect(config.data).toMatchObject({
      train: at('train.jsonl'),
      template: 'alpaca',
      max_prompt_tokens: 256,
    });
    expect(config.train).toMatchObject({ batch_size: 32, betas: [0.9, 0.95], clip: 1, prompt_weight: 0 });
    expect(config.objective).toEqual({ preset: 'paper', length_norm: 'remaining' });
    expect(config.rollout).toMatchObject({ rollouts: 64, samples: 1, inner_epochs: 2 });
  });

  it('--set changes fields: values are YAML, paths relative to the working directory, the last one wins', async () => {
    const config = await readTrainConfig(file, [
      ...['train.lr=5e-4', 'train.clip=0', 'objective.single_step=false', 'objective.alpha=0.5'],
      ...[
        `data.train=${at('other.jsonl')}`,
        'train.betas=[0.8, 0.99]',
        'seed=3',
        'seed=4',
        'rollout.top_p=.9',
      ],
    ]);
    expect(config.train).toMatchObject({ lr: 5e-4, clip: 0, betas: [0.8, 0.99], steps: 10 });
    expect(config.objective).toMatchObject({ preset: 'paper', single_step: false, alpha: 0.5 });
    expect(config.data.train).toBe(at('other.jsonl'));
    expect(config.seed).toBe(4);
    expect(config.rollout.top_p).toBe(0.9);
    const relative = readTrainConfig(file, ['data.train=absent.jsonl']);
    await expect(relative).rejects.toThrow(
      `data.train: ${join(process.cwd(), 'absent.jsonl')} does not exist`,
    );
  });

  it.each(['d #1', '0123', 'a: b', '@x', '[x', ' - y', 'true', '*z'])(
    '--set takes the text of a text field as it is: %s',
    async (name) => {
      writeFileSync(at(name), '');
      expect((await readTrainConfig(file, [`data.train=${at(name)}`])).data.train).toBe(at(name));
      const relative = readTrainConfig(file, [`data.valid=${name}-absent`]);
      await expect(relative).rejects.toThrow(`data.valid: ${join(process.cwd(), `${name}-absent`)} does not`);
    },
  );

  it('--set of a model: the text is a path unless it is a list or a shape', async () => {
    mkdirSync(at('e #1/best'), { recursive: true });
    const path = at('e #1/best');
    const config = await readTrainConfig(file, [`student=${path}`, `teacher=${path}`]);
    expect(config).toMatchObject({ student: path, teacher: path });
    const named = readTrainConfig(file, ['student=a: b']);
    await expect(named).rejects.toThrow(`student: ${join(process.cwd(), 'a: b')} does not exist`);
    const url = await readTrainConfig(file, [
      'method=kd',
      'teacher.url=http://127.0.0.1:1/a#b',
      'teacher.model=0123',
    ]);
    expect(url.teacher).toMatchObject({ url: 'http://127.0.0.1:1/a#b', model: '0123' });
  });

  it('--set of a text that is quoted as a whole takes what the quotes hold', async () => {
    writeFileSync(at('q "x" #1'), '');
    for (const quoted of [JSON.stringify(at('q "x" #1')), `'${at('q "x" #1')}'`])
      expect((await readTrainConfig(file, [`data.train=${quoted}`])).data.train).toBe(at('q "x" #1'));
  });

  it('--set refuses a comment where the value is YAML', async () => {
    await expect(readTrainConfig(file, ['train.steps=3 #0'])).rejects.toThrow(
      '--set train.steps=3 #0: what follows # would be left out as a comment',
    );
  });

  it('--set replaces a path by a list or a shape', async () => {
    const several = await readTrainConfig(file, [
      'method=babyllama',
      `teacher=[${at('teacher')}, ${at('student')}]`,
    ]);
    expect(several.teacher).toEqual([at('teacher'), at('student')]);
    const shape = await readTrainConfig(file, [
      `student={hidden_size: 8, layers: 1, heads: 2, tokenizer: ${at('teacher')}}`,
    ]);
    expect(shape.student).toMatchObject({ family: 'llama', hidden_size: 8, tokenizer: at('teacher') });
  });

  it('--set field=null leaves a field out, as if nobody had given it', async () => {
    const changed = [
      'lora.rank=8',
      'lora=null',
      'data.valid=null',
      'objective.length_norm=null',
      'train.none=null',
    ];
    const config = await readTrainConfig(file, changed);
    expect(config.lora).toBeUndefined();
    expect(config.data.valid).toBeUndefined();
    expect(config.objective).toEqual({ preset: 'paper' });
    await expect(readTrainConfig(file, ['train.lr=null'])).rejects.toThrow('train.lr');
  });

  it('--set gives the clip one range or two sides', async () => {
    const two = await readTrainConfig(file, ['objective.cliprange={low: 0.2, high: 0.28}']);
    expect(two.objective.cliprange).toEqual({ low: 0.2, high: 0.28 });
    const sides = await readTrainConfig(file, [
      'objective.cliprange.low=0.2',
      'objective.cliprange.high=0.3',
    ]);
    expect(sides.objective.cliprange).toEqual({ low: 0.2, high: 0.3 });
    expect((await readTrainConfig(file, ['objective.cliprange=0.1'])).objective.cliprange).toBe(0.1);
  });

  it.each([
    ['objective.cliprange={low: 0.2}', 'objective.cliprange'],
    ['objective.cliprange={low: 0, high: 0}', 'objective.cliprange'],
    ['objective.cliprange=-1', 'objective.cliprange'],
    ['train.lrr=1', 'train: Unrecognized key: "lrr"'],
    ['trian.lr=1', 'Unrecognized key: "trian"'],
    ['train.lr=fast', 'train.lr: '],
    ['rollout.rollouts=63', 'rollout.rollouts: 63 is not a multiple of train.batch_size 32'],
    [
      'rollout.states=gold',
      'objective.returns: sampled; set none; objective.alpha: 0.2; set 0 (rollout.states',
    ],
    ['lora.alpha=2e9', 'lora.alpha: Too big'],
    ['teacher.cache=', 'teacher.cache: '],
    ['train.batch_size=48', 'rollout.rollouts: 64 is not a multiple of train.batch_size 48'],
    ['data.valid=absent', `data.valid: ${join(process.cwd(), 'absent')} does not exist`],
    ['objective.preset=papre', 'objective.preset: '],
  ])('a wrong --set %s is not blamed on the file', async (set, line) => {
    const sets = ['seed=2', set, 'train.clip=1'];
    await expect(readTrainConfig(file, sets)).rejects.toThrow(`--set ${set}: ${line}`);
  });

  it('what the file has wrong is not blamed on a --set', async () => {
    writeFileSync(at('wrong.yaml'), 'method: sft\nstudent: student\ndata: {}\ntrain: { steps: 1, lrr: 1 }\n');
    await expect(readTrainConfig(at('wrong.yaml'), ['train.lr=1', 'seed=2'])).rejects.toThrow(
      `${at('wrong.yaml')}: train: Unrecognized key: "lrr"`,
    );
  });

  it('written out and read again it is the same', async () => {
    const config = await readTrainConfig(file, []);
    const text = stringifyConfig(config);
    writeFileSync(at('resolved.yaml'), text);
    expect(await readTrainConfig(at('resolved.yaml'), [])).toEqual(config);
    expect(stringifyConfig(await readTrainConfig(at('resolved.yaml'), []))).toBe(text);
    expect(parse(text)).toEqual(config);
  });
});

describe('a configuration from an object', () => {
  const fields = (): TrainConfigInput => ({
    method: 'minillm',
    student: 'student',
    teacher: 'teacher',
    data: { train: 'train.jsonl', valid: 'valid.jsonl' },
    train: { steps: 10, lr: 1e-3 },
    objective: { preset: 'paper', length_norm: true },
  });

  it('is the one of the file that says the same, and leaves the object alone', async () => {
    const given = fields();
    expect(await trainConfigFrom(given, place.path)).toEqual(await readTrainConfig(file, []));
    expect(given).toEqual(fields());
  });

  it.each([
    [{ train: { steps: 10, lr: 1e-3, lrr: 1 } }, 'train: Unrecognized key: "lrr"'],
    [{ train: { steps: 1.5, lr: 1e-3 } }, 'train.steps: '],
    [{ teacher: undefined }, 'teacher: missing; minillm needs one'],
    [{ teacher: { cach: 'x' } }, 'teacher: Unrecognized key: "cach"; expected url, '],
    [{ data: { train: 'absent', valid: 'valid.jsonl' } }, `data.train: ${at('absent')} does not exist`],
    [{ rollout: { rollouts: 63 } }, 'rollout.rollouts: 63 is not a multiple'],
    [
      { objective: { preset: 'paper', returns: 'none', single_step: false, lm_coef: 0 } },
      'objective.returns: none, and no other term is left to learn from',
    ],
    ...Object.entries({
      'objective.returns: sampled': {},
      'objective.include_r_t: true': { returns: 'none', include_r_t: true },
      'objective.alpha: 0.2': { returns: 'none' },
    }).map(([line, switches]): [object, string] => [
      { rollout: { states: 'gold' }, objective: { preset: 'paper', ...switches } },
      line,
    ]),
  ])('refuses %j in the words of a file', async (change, line) => {
    const wrong = { ...fields(), ...change } as TrainConfigInput;
    await expect(trainConfigFrom(wrong, place.path)).rejects.toThrow(`configuration: ${line}`);
    writeFileSync(at('same.yaml'), stringify(wrong));
    await expect(readTrainConfig(at('same.yaml'), [])).rejects.toThrow(`same.yaml: ${line}`);
  });

  it('refuses what is no plain value', async () => {
    const wrong = { ...fields(), seed: () => 1 } as unknown as TrainConfigInput;
    await expect(trainConfigFrom(wrong)).rejects.toThrow('expected plain values, as a YAML file holds them');
    await expect(trainConfigFrom([] as unknown as TrainConfigInput)).rejects.toThrow('expected an object');
  });
});
