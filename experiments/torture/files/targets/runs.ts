import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { run } from '../../../../src/cli/program.js';
import { UsageError } from '../../../../src/errors.js';
import { loadModel } from '../../../../src/models/checkpoint.js';
import type { Model } from '../../../../src/models/model.js';
import { disposeState } from '../../../../src/optim/state.js';
import type { Rng } from '../../../../src/random/streams.js';
import { writeReport } from '../../../../src/report/report.js';
import { loadLatestCheckpoint } from '../../../../src/runs/checkpoint.js';
import { comparisonTable, pairedTable } from '../../../../src/runs/comparisonTable.js';
import { generationCache } from '../../../../src/runs/generationCache.js';
import { openMetricsLog, readMetrics } from '../../../../src/runs/metricsLog.js';
import { readTrainConfig } from '../../../../src/runs/runConfig.js';
import { readSweep } from '../../../../src/runs/sweepConfig.js';
import { spent, sweepResults } from '../../../../src/runs/sweepResults.js';
import { disposeParams } from '../../../../src/tensor/params.js';
import type { TrainConfig } from '../../../../src/training/config.js';
import { optimizerOf } from '../../../../src/training/loop.js';
import { openStore } from '../../../../src/variance/store.js';
import { type Mutant, mutateBytes, mutateJson, mutateJsonl, mutateText } from '../mutate.js';
import { written } from '../quiet.js';
import { filesOf, type Target } from '../target.js';
import type { World } from '../world.js';
import { mutateSafetensors } from './models.js';

const opened = new Map<string, Promise<{ config: TrainConfig; student: Model }>>();
/** What a resume of a run of this method begins with. */
function beginning(world: World, method: 'minillm' | 'distillm') {
  const make = async () => ({
    config: await readTrainConfig(join(world.configs, `${method}.yaml`), []),
    student: await loadModel(world.student),
  });
  if (!opened.has(method)) opened.set(method, make());
  return opened.get(method)!;
}

function checkpoint(method: 'minillm' | 'distillm', weight: number): Target {
  const at = 'checkpoints/4/training-state';
  const inner = filesOf({
    name: `checkpoint state (${method})`,
    weight,
    from: (world) => world.runs[method],
    files: {
      [`${at}/state.json`]: mutateJson,
      [`${at}/optimizer.safetensors`]: mutateSafetensors,
      ...(method === 'minillm' && { [`${at}/rollouts.jsonl`]: mutateJsonl }),
      ...(method === 'distillm' && { [`${at}/replay.json`]: mutateJson }),
      'checkpoints/4/config.json': mutateJson,
    },
    async read(directory, _, world) {
      const { config, student } = await beginning(world, method);
      const state = await loadLatestCheckpoint(directory, config, student, optimizerOf(config));
      if (!state) throw new Error('no checkpoint found');
      disposeParams(state.params);
      disposeState(state.optimizer);
      if (state.value) disposeState(state.value);
    },
  });
  return {
    ...inner,
    async open(world, place) {
      await beginning(world, method); // its tensors stay, and are no case's
      return inner.open(world, place);
    },
  };
}

const mutateGzip = (bytes: Buffer, rng: Rng): Mutant => {
  if (rng() < 0.3) return mutateBytes(bytes, rng);
  const { bytes: inner, how } = mutateJson(gunzipSync(bytes), rng);
  return { bytes: gzipSync(inner, { level: 1 }), how };
};

const evaluation = { 'evaluation.json': mutateJson };
const logs = { 'metrics.jsonl': mutateJsonl, 'timing.jsonl': mutateJsonl };
const report = (directory: string): unknown =>
  writeReport([directory], join(directory, '..', 'out', 'report.html'));

export const runTargets: Target[] = [
  checkpoint('minillm', 2),
  checkpoint('distillm', 1),
  filesOf({
    name: 'logs on resume',
    weight: 1,
    from: (world) => world.runs.minillm,
    files: logs,
    writes: true,
    read(directory, rng) {
      for (const name of Object.keys(logs)) {
        const file = join(directory, name);
        openMetricsLog(file, { resumeAtStep: rng() < 0.5 ? 2 : -1 }).close();
        readMetrics(file);
      }
    },
  }),
  filesOf({
    name: 'run directory on resume',
    weight: 0.3,
    from: (world) => world.runs.minillm,
    files: {
      'config.resolved.yaml': mutateText,
      'environment.json': mutateJson,
      'inputs.json': mutateJson,
      ...logs,
      'checkpoints/4/training-state/state.json': mutateJson,
    },
    writes: true,
    read: (directory, _, world) =>
      told(['train', join(world.configs, 'minillm.yaml'), '--out', directory, '--resume', '--quiet']),
  }),
  filesOf({
    name: 'teacher answers of a seqkd run on resume',
    weight: 0.2,
    from: (world) => world.runs.seqkd,
    files: { 'scratch/pseudo-responses.jsonl': mutateJsonl },
    writes: true,
    read: (directory, _, world) =>
      told([
        ...['train', join(world.configs, 'seqkd.yaml'), '--out', directory, '--resume', '--quiet'],
        ...['--set', 'train.steps=4'],
      ]),
  }),
  filesOf({
    name: 'run directory in the report',
    weight: 0.5,
    from: (world) => world.runs.minillm,
    files: {
      ...evaluation,
      ...logs,
      'samples/eval.jsonl': mutateJsonl,
      'config.resolved.yaml': mutateText,
      'environment.json': mutateJson,
    },
    read: report,
  }),
  filesOf({
    name: 'evaluation.json in tables',
    weight: 2,
    from: (world) => world.runs.minillm,
    files: evaluation,
    async read(directory, _, world) {
      await comparisonTable([directory]);
      await pairedTable(directory, [world.runs.minillm]);
    },
  }),
  filesOf({
    name: 'runs of a sweep in its table',
    weight: 1,
    from: (world) => world.runs.minillm,
    files: { ...evaluation, ...logs },
    async read(directory, _, world) {
      const sweep = await sweepOf(world);
      for (const kind of ['steps', 'seconds', 'teacher_tokens'] as const) spent(directory, kind);
      sweepResults(sweep, [{ run: sweep.runs[0]!, directory }]);
      sweepResults({ ...sweep, evaluate: undefined }, [{ run: sweep.runs[0]!, directory }]);
    },
  }),
  {
    name: 'generation cache',
    weight: 1,
    open(world, place) {
      const request = {
        ...{ of: 'model' as const, seed: 1, greedy: false, maxNewTokens: 4, eosIds: [0], vocabSize: 264 },
        prompts: [Int32Array.from([1, 2]), Int32Array.from([3])],
      };
      const cache = (log: (line: string) => void) =>
        generationCache(join(place, 'in'), { model: 'm', engine: 'e', log });
      const rows = request.prompts.map((promptIds, promptIndex) => ({
        ...{ promptIndex, promptIds, responseIds: Int32Array.from([5, 0]) },
        ...{ studentLogprobs: Float32Array.from([-1, -2]), finished: true },
      }));
      cache(() => {}).save(request, rows);
      cpSync(join(place, 'in'), join(place, 'whole'), { recursive: true });
      const name = readdirSync(join(place, 'whole'))[0]!;
      const inner = filesOf({
        ...{ name: '', weight: 1, from: () => join(place, 'whole'), files: { [name]: mutateGzip } },
        read(directory) {
          // What it cannot use is a note that names the file, and is made again.
          const notes: string[] = [];
          generationCache(directory, { model: 'm', engine: 'e', log: (line) => notes.push(line) }).load(
            request,
          );
          for (const note of notes)
            if (!note.includes(directory) || /[\n\r]/.test(note)) throw new Error(`a bad note: ${note}`);
        },
      });
      return inner.open(world, join(place, 'again'));
    },
  },
  {
    name: 'measurements of variance',
    weight: 1,
    async open(world, place) {
      const setting = { format: 1, repeats: 2, prompts: ['a'] };
      const whole = join(place, 'whole');
      await openStore(whole, setting, 2);
      const row = {
        ...{
          name: 'a',
          own: [
            [1, 2],
            [2, 1],
          ],
          cross: [
            [1, 0],
            [0, 1],
          ],
          effective_sample_size: 1,
        },
        cost: Object.fromEntries(
          [
            'sampling_s',
            'gradient_s',
            'student_tokens',
            'teacher_tokens',
            'response_tokens',
            'computation',
          ].map((name) => [name, 1]),
        ),
      };
      const inner = filesOf({
        ...{ name: '', weight: 1, from: () => whole, writes: true },
        prepare: (directory) =>
          writeFileSync(join(directory, 'measurements.jsonl'), `${JSON.stringify(row)}\n`),
        files: { 'setting.json': mutateJson, 'measurements.jsonl': mutateJsonl },
        read: (directory) => openStore(directory, setting, 2),
      });
      return inner.open(world, join(place, 'again'));
    },
  },
];

const sweeps = new Map<string, ReturnType<typeof readSweep>>();
function sweepOf(world: World): ReturnType<typeof readSweep> {
  if (!sweeps.has(world.configs)) sweeps.set(world.configs, readSweep(join(world.configs, 'sweep.yaml')));
  return sweeps.get(world.configs)!;
}

/** A command, whose one line on standard error is thrown as what it would say. */
async function told(args: string[]): Promise<void> {
  const result = await run(args);
  const lines = written();
  if (result === 0) return;
  const error = new UsageError(lines.at(-1) ?? 'nothing was said');
  if (![1, 2].includes(result)) throw new Error(`exit code ${result}: ${error.message}`);
  throw error;
}
