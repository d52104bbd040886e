import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeReport } from '../../src/report/report.js';
import { readSweep } from '../../src/runs/sweepConfig.js';
import { evaluationArguments, referencesOf } from '../../src/runs/sweepEvaluation.js';
import { initBackend } from '../../src/tensor/backend.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
vi.setConfig({ testTimeout: 120_000 });
const place = temporaryDirectory('references');
const at = (...name: string[]): string => join(place.path, ...name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

const flags = ['--backend', 'wasm', '--quiet'];

describe('what a sweep compares its runs with', () => {
  const plan = async (fields: Record<string, unknown>) => {
    writeConfig(at('base.yaml'), worldConfig(world, 'kd', { train: { steps: 2 } }));
    const file = writeConfig(at('sweep.yaml'), {
      base: 'base.yaml',
      evaluate: { data: world.valid, seeds: [1], max_new_tokens: 4 },
      ...fields,
    });
    const sweep = await readSweep(file);
    return { sweep, references: referencesOf(sweep.runs, sweep, at('out')) };
  };

  it('is the teacher and the student that all began as, with the runs’ data and limits', async () => {
    const { sweep, references } = await plan({
      grid: { seed: [1, 2] },
      set: { 'data.bos': false },
    });
    expect(references.map(({ label, model, directory }) => [label, model, directory])).toEqual([
      ['teacher', world.teacher, at('out', 'references', 'teacher')],
      ['start', world.student, at('out', 'references', 'start')],
    ]);
    const options = { out: at('out'), flags: [], log: () => {} };
    const args = await evaluationArguments(references[1]!, sweep.evaluate!, options);
    const after = (flag: string): string => args[args.indexOf(flag) + 1]!;
    expect(['--model', '--teacher', '--run', '--label', '--data'].map(after)).toEqual([
      ...[world.student, world.teacher, at('out', 'references', 'start'), 'start', world.valid],
    ]);
    expect(args).toContain('--no-bos');
  });

  it('is one each where they differ, and nothing without a measurement', async () => {
    const { references } = await plan({ grid: { teacher: [world.teacher, world.secondTeacher] } });
    expect(references.map(({ label }) => label)).toEqual(['teacher-1', 'teacher-2', 'start']);
    expect((await plan({ grid: { seed: [1] }, evaluate: undefined })).references).toEqual([]);
  });
});

describe('eval --run', () => {
  it('renews the page of the run; where there is none it makes none', async () => {
    const config = writeConfig(at('kd.yaml'), worldConfig(world, 'kd', { train: { steps: 2 } }));
    const trained = await runInProcess('train', config, '--out', at('kd'), ...flags);
    expect(trained.code, trained.stderr).toBe(0);
    const page = at('kd', 'report.html');
    expect(readFileSync(page, 'utf8')).toContain('No run has been evaluated yet');
    const evaluate = (model: string, run: string) =>
      runInProcess(
        ...([
          'eval',
          '--model',
          model,
          '--teacher',
          world.teacher,
          '--data',
          world.valid,
          '--run',
          run,
        ] as const),
        ...['--template', 'none', '--seeds', '1,2', '--max-new-tokens', '4', ...flags],
      );
    const measured = await evaluate(at('kd', 'final'), at('kd'));
    expect(measured.code, measured.stderr).toBe(0);
    expect(readFileSync(page, 'utf8')).toContain('<table class="rank">');
    const teacher = await evaluate(world.teacher, at('references', 'teacher'));
    expect(teacher.code, teacher.stderr).toBe(0);
    expect(statSync(at('references', 'teacher', 'report.html'), { throwIfNoEntry: false })).toBeUndefined();
    // Sizes and the day of the run stand at the head, and the references of a sweep beside its runs.
    const { runs } = writeReport([place.path], at('all.html'));
    expect(runs).toEqual(['Teacher', 'KD']);
    const { parameters, teacher_parameters } = JSON.parse(
      readFileSync(at('kd', 'evaluation.json'), 'utf8'),
    ) as Record<string, number>;
    const environment = JSON.parse(readFileSync(at('kd', 'environment.json'), 'utf8'));
    expect(environment.student_parameters).toBe(parameters);
    expect(environment.teacher_parameters).toEqual([teacher_parameters]);
    const html = readFileSync(at('all.html'), 'utf8');
    expect(html).toContain(`<dt>Date</dt><dd>${environment.started.slice(0, 10)}</dd>`);
    expect(html).toContain(`<dt>Students</dt><dd>${parameters!.toLocaleString('en')} parameters</dd>`);
    expect(html).toContain('<dt>Optimizer steps</dt><dd>2</dd>');
  });
});
