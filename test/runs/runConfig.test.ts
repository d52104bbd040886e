import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readTrainConfig, stringifyConfig } from '../../src/runs/runConfig.js';
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

  it('written out and read again it is the same', async () => {
    const config = await readTrainConfig(file, []);
    const text = stringifyConfig(config);
    writeFileSync(at('resolved.yaml'), text);
    expect(await readTrainConfig(at('resolved.yaml'), [])).toEqual(config);
    expect(stringifyConfig(await readTrainConfig(at('resolved.yaml'), []))).toBe(text);
    expect(parse(text)).toEqual(config);
  });
});
