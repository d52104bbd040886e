import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  argumentsOf,
  type Experiment,
  findExperiments,
  inOrder,
  missingPython,
  runExperiment,
  skippedPart,
} from '../../experiments/run.js';

const root = path.resolve(import.meta.dirname, '../..');
let place: string;
beforeEach(() => {
  place = mkdtempSync(path.join(tmpdir(), 'experiments-'));
});
afterEach(() => rmSync(place, { recursive: true }));

describe('the experiments of this repository', () => {
  const experiments = findExperiments(path.join(root, 'experiments'));

  it('are found, the shortest first', () => {
    expect([...experiments.keys()]).toContain('kl-geometry');
    const minutes = [...experiments.values()].map((experiment) => experiment.minutes);
    expect(minutes).toEqual([...minutes].sort((a, b) => a - b));
  });

  it.each([...experiments])(
    '%s: its commands name files that are there, and it says how it is run',
    (name, { commands, part }) => {
      const files = [...commands, ...(part?.commands ?? [])].flatMap(
        (command) => command.match(/experiments\/\S+/g) ?? [],
      );
      expect(files.length).toBeGreaterThan(0);
      for (const file of files) expect(existsSync(path.join(root, file)), file).toBe(true);
      expect(readFileSync(path.join(root, 'experiments', name, 'README.md'), 'utf8')).toContain(
        `npm run experiments -- ${name}`,
      );
    },
  );

  it.each([...experiments])(
    '%s: the results that are committed are those that it writes',
    (name, { results, part }) => {
      const folder = path.join(root, 'experiments', name, 'results');
      if (!existsSync(folder)) return;
      expect(readdirSync(folder).sort()).toEqual(
        [...results, ...(part?.results ?? []), 'environment.json'].sort(),
      );
      const environment = JSON.parse(readFileSync(path.join(folder, 'environment.json'), 'utf8'));
      expect(environment.wall_clock_seconds).toBeGreaterThan(0);
      expect(environment.cores).toBeGreaterThan(0);
    },
  );
});

describe('findExperiments', () => {
  it('names the file and the field that is wrong', () => {
    mkdirSync(path.join(place, 'broken'));
    const file = path.join(place, 'broken', 'experiment.yaml');
    writeFileSync(file, 'about: x\nminutes: 1\ncommands: [python run.py]\nresults: [a]\n');
    expect(() => findExperiments(place)).toThrow(`${file}: commands.0: expected minillm … or node FILE.ts …`);
  });
});

describe('inOrder', () => {
  const one = (...needs: string[]): Experiment => ({
    about: 'x',
    minutes: 1,
    needs,
    python: [],
    commands: ['node a.ts {out}'],
    results: ['a'],
  });
  const known = new Map([
    ['figure', one('table')],
    ['table', one('teacher')],
    ['teacher', one()],
    ['loop', one('pool')],
    ['pool', one('loop')],
    ['lost', one('nowhere')],
  ]);

  it('puts what is needed first, once', () => {
    expect(inOrder(['figure'], known)).toEqual(['teacher', 'table', 'figure']);
    expect(inOrder(['teacher', 'figure', 'table'], known)).toEqual(['teacher', 'table', 'figure']);
  });

  it('names what does not exist, and a circle', () => {
    expect(() => inOrder(['none'], known)).toThrow(
      /^none: no such experiment; expected all, or some of figure,/,
    );
    expect(() => inOrder(['lost'], known)).toThrow(/^nowhere: no such experiment \(needed by lost\)/);
    expect(() => inOrder(['loop'], known)).toThrow('loop needs pool needs loop: a circle');
  });

  it('finds everything that the experiments of this repository need', () => {
    const experiments = findExperiments(path.join(root, 'experiments'));
    expect(inOrder([...experiments.keys()], experiments).sort()).toEqual([...experiments.keys()].sort());
  });
});

describe('missingPython', () => {
  it('says what is not there, of an experiment that needs it', () => {
    expect(missingPython({ python: [] }, 'no-such-program')).toBeUndefined();
    expect(missingPython({ python: ['trl'] }, 'no-such-program')).toMatch(
      /^needs a Python with trl \(no-such-program: .*ENOENT.*\); PYTHON=PROGRAM names another$/,
    );
  });
});

describe('runExperiment', () => {
  const experiment: Experiment = {
    about: 'x',
    minutes: 1,
    needs: [],
    python: [],
    commands: ['node one.ts {out}', 'node two.ts {out}/b.csv'],
    results: ['a.csv', 'b.csv'],
  };
  const out = () => path.join(place, 'out');
  const results = () => path.join(place, 'results');
  /** Stands for the scripts: writes what the first word says, or fails. */
  const start =
    (fail = '') =>
    (args: string[]) => {
      const [script, target] = args.slice(2);
      const file = script === 'one.ts' ? path.join(target!, 'a.csv') : target!;
      const code =
        script === fail ? 'process.exit(3)' : `require('fs').writeFileSync(${JSON.stringify(file)}, 'x')`;
      return spawn(process.execPath, ['-e', code], { stdio: 'ignore' });
    };

  it('runs the commands in turn and leaves the results with their surroundings, and nothing of an earlier time', async () => {
    mkdirSync(results());
    writeFileSync(path.join(results(), 'old.csv'), 'old');
    const { seconds } = await runExperiment(experiment, out(), results(), start());
    expect(seconds.map(({ command }) => command)).toEqual(experiment.commands);
    expect(readdirSync(results()).sort()).toEqual(['a.csv', 'b.csv', 'environment.json']);
    const environment = JSON.parse(readFileSync(path.join(results(), 'environment.json'), 'utf8'));
    expect(Object.keys(environment)).toEqual(
      expect.arrayContaining([
        'package',
        'git_commit',
        'engine',
        'cpu',
        'cores',
        'wall_clock_seconds',
        'commands',
      ]),
    );
    expect(JSON.stringify(environment)).not.toContain(place);
  });

  it('adds up the time of all calls', async () => {
    mkdirSync(out());
    const before = { 'node one.ts {out}': 100, 'node two.ts {out}/b.csv': 50 };
    writeFileSync(path.join(out(), 'seconds.json'), JSON.stringify(before));
    const { seconds } = await runExperiment(experiment, out(), results(), start());
    expect(seconds[0]!.seconds).toBeGreaterThanOrEqual(100);
    expect(seconds[1]!.seconds).toBeGreaterThanOrEqual(50);
    const environment = JSON.parse(readFileSync(path.join(results(), 'environment.json'), 'utf8'));
    expect(environment.wall_clock_seconds).toBeGreaterThanOrEqual(150);
  });

  it('ends at the first command that fails and leaves the old results', async () => {
    mkdirSync(results());
    writeFileSync(path.join(results(), 'old.csv'), 'old');
    await expect(runExperiment(experiment, out(), results(), start('two.ts'))).rejects.toThrow(
      'node two.ts {out}/b.csv: ended with exit code 3; the same call goes on',
    );
    expect(readdirSync(results())).toEqual(['old.csv']);
  });

  it('runs the part whose model the environment names, and skips it otherwise, with its results as they were', async () => {
    const part = { name: 'long', variable: 'MINILLM_TEST_MODEL', model: 'a model of somebody' };
    const whole = {
      ...experiment,
      part: { ...part, commands: ['node three.ts {out}/c.csv'], results: ['c.csv'] },
    };
    const found = () => readFileSync(path.join(results(), 'c.csv'), 'utf8');
    mkdirSync(results());
    writeFileSync(path.join(results(), 'c.csv'), 'of another machine');
    expect(skippedPart(whole, {})).toBe(
      'long: skipped, and its results left as they are: set MINILLM_TEST_MODEL to a directory with a model of somebody',
    );
    expect((await runExperiment(whole, out(), results(), start())).seconds).toHaveLength(2);
    expect(found()).toBe('of another machine');
    vi.stubEnv('MINILLM_TEST_MODEL', place);
    expect(skippedPart(whole)).toBeUndefined();
    expect((await runExperiment(whole, out(), results(), start())).seconds).toHaveLength(3);
    expect(found()).toBe('x');
    vi.unstubAllEnvs();
  });

  it('says which result was not written', async () => {
    const more = { ...experiment, results: ['a.csv', 'c.svg'] };
    await expect(runExperiment(more, out(), results(), start())).rejects.toThrow(
      'c.svg: not written by its commands',
    );
  });

  it('starts this package’s program, or a script', () => {
    expect(argumentsOf('minillm sweep a.yaml --out {out}', '/o')).toEqual([
      ...['--import', 'tsx', 'src/cli/main.ts', 'sweep', 'a.yaml', '--out', '/o'],
    ]);
    expect(argumentsOf('node x.ts {out}', '/o')).toEqual(['--import', 'tsx', 'x.ts', '/o']);
  });
});
