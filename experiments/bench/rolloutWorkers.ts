/** Rollouts by processes of one thread each: for measuring only, nothing in the library uses it. */
import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import type { BenchSource } from '../../src/bench/models.js';
import type { Prompt, RolloutOptions } from '../../src/rollout/engine.js';
import type { Trajectory } from '../../src/rollout/trajectory.js';
import type { Params } from '../../src/tensor/params.js';

export interface Task {
  /** File of the student's weights, one tensor after the other, float32. */
  weights: string;
  /** File for the teacher's logits, [prompts · maxNewTokens, V]. */
  logits: string;
  prompts: Prompt[];
  alpha: number;
  options: Omit<RolloutOptions, 'teacher' | 'onTeacherLogits' | 'onProgress'>;
}

export interface Finished {
  trajectories: Trajectory[];
  cpuSeconds: number;
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export class RolloutWorkers {
  private constructor(
    private readonly workers: ChildProcess[],
    private readonly directory: string,
  ) {
    for (const signal of SIGNALS) process.once(signal, this.interrupted);
  }

  /** What lies in memory as a file would outlive the process. */
  private readonly interrupted = (): void => {
    this.close();
    process.exit(130);
  };

  /** Processes that have loaded the models; the student's weights come with every round. */
  static async start(count: number, source: BenchSource): Promise<RolloutWorkers> {
    const program = fileURLToPath(new URL('rolloutWorker.ts', import.meta.url));
    const workers = Array.from({ length: count }, () =>
      fork(program, [JSON.stringify(source), tf.getBackend()], {
        execArgv: ['--import', 'tsx'],
        serialization: 'advanced',
      }),
    );
    // In memory where the system has such a place.
    const place = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
    const started = new RolloutWorkers(workers, mkdtempSync(join(place, 'minillm-workers-')));
    try {
      await Promise.all(workers.map((worker) => answer(worker)));
    } catch (error) {
      started.close();
      throw error;
    }
    return started;
  }

  /**
   * As `rollout` with the teacher's logits kept: the prompts are dealt out in turn, samples of one prompt to one worker.
   *
   * @returns trajectories in the order of the prompts (one sample each), and the logits [prompts · maxNewTokens, V]
   */
  async rollout(params: Params, prompts: readonly Prompt[], task: Pick<Task, 'alpha' | 'options'>) {
    const { workers, directory } = this;
    const weights = join(directory, 'weights');
    writeWeights(weights, params);
    const finished = await Promise.all(
      workers.map((worker, w) => {
        const mine = prompts.filter((_, i) => i % workers.length === w);
        const given: Task = { ...task, weights, logits: join(directory, `logits-${w}`), prompts: mine };
        worker.send(given);
        return answer<Finished>(worker);
      }),
    );
    const trajectories = prompts.map((_, i) => {
      return finished[i % workers.length]!.trajectories[Math.floor(i / workers.length)]!;
    });
    return {
      trajectories,
      teacherLogits: (vocab: number) => this.readLogits(prompts.length, task.options.maxNewTokens * vocab),
      cpuSeconds: finished.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    };
  }

  private readLogits(responses: number, size: number): Float32Array {
    const all = new Float32Array(responses * size);
    const files = this.workers.map((_, w) => openSync(join(this.directory, `logits-${w}`), 'r'));
    for (let i = 0; i < responses; i++)
      readSync(files[i % files.length]!, all, { offset: 4 * i * size, length: 4 * size });
    files.forEach(closeSync);
    return all;
  }

  close(): void {
    for (const signal of SIGNALS) process.off(signal, this.interrupted);
    for (const worker of this.workers) if (worker.connected) worker.disconnect();
    rmSync(this.directory, { recursive: true });
  }
}

function writeWeights(file: string, params: Params): void {
  const to = openSync(file, 'w');
  for (const tensor of Object.values(params)) writeSync(to, tensor.dataSync<'float32'>());
  closeSync(to);
}

/** The next message of a worker. @throws Error when it ends instead */
function answer<T>(worker: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null, signal: string | null): void =>
      reject(new Error(`a rollout worker ended (${signal ?? `exit code ${code}`})`));
    worker.once('exit', ended);
    worker.once('message', (message) => {
      worker.off('exit', ended);
      resolve(message as T);
    });
  });
}
