import { createInterface } from 'node:readline';
import * as tf from '@tensorflow/tfjs-core';
import { median } from '../../src/bench/measure.js';
import { type BenchSizes, type WorkloadName, workloads } from '../../src/bench/workloads.js';
import { type BackendName, initBackend, type Precision } from '../../src/tensor/backend.js';
import type { Device } from '../../src/tensor/engines/cuda/device.js';
import { randomModel } from './models.js';
import { oneLine } from './rows.js';

/** A piece of work, as both sides of the benchmark read it; the other side is torch_worker.py. */
export interface Work {
  work: string;
  /** Layers, width, heads, vocabulary. */
  shape: [number, number, number, number];
  teacher?: [number, number, number, number];
  precision: Precision | 'bfloat16';
  batch: number;
  /** Of training and scoring. */
  length?: number;
  /** Of decoding and rounds. */
  prompt?: number;
  response?: number;
  minibatch?: number;
  passes?: number;
  checkpointing?: boolean;
  /** Runs in a turn; their median counts. */
  repeats: number;
}

type Request = { do: 'prepare' | 'turn' } & Work & { backend?: BackendName; threads?: number };

/** The part `work`: our side of the benchmark, by the very workloads of `minillm bench`. A line of JSON in, a line out. */
export async function work(): Promise<void> {
  let run: (() => Promise<number>) | undefined;
  let repeats = 1;
  const say = (answer: object): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);
  const answers = {
    async prepare(request: Request) {
      run = undefined;
      const { engine } = await initBackend({
        backend: request.backend ?? 'cuda',
        precision: request.precision as Precision,
        ...(request.threads && { threads: request.threads }),
      });
      const made = workload(request);
      repeats = request.repeats;
      run = async () => {
        const from = performance.now();
        await made.run();
        deviceOf()?.synchronise();
        return (performance.now() - from) / 1000;
      };
      await run();
      await run();
      return { ready: true, engine };
    },
    async turn() {
      if (!run) throw new Error('nothing is prepared');
      const seconds: number[] = [];
      for (let i = 0; i < repeats; i++) seconds.push(await run());
      const device = deviceOf();
      return { seconds: median(seconds), ...(device && { peak_gb: device.memory().peak / 1e9 }) };
    },
  };
  say({ node: process.versions.node });
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as Request;
    say(await answers[request.do](request).catch((error: Error) => ({ error: oneLine(error) })));
  }
}

/** Of the CUDA engine; none on another backend. */
function deviceOf(): Device | undefined {
  return (tf.backend() as { device?: Device }).device;
}

function workload(request: Request) {
  const { work, batch, length = 0, prompt = 0, response = 0, minibatch = batch, passes = 1 } = request;
  const of = ([layers, width, heads, vocab]: Work['shape']) => randomModel({ layers, width, heads, vocab });
  const sizes: BenchSizes = {
    ...{ batch, seq: length, promptLen: prompt, maxResponse: response, minibatch, inner: passes },
    ...{ ptLen: prompt + response, alpha: 0.2, gradientCheckpointing: request.checkpointing ?? false },
  };
  const models = { student: of(request.shape), ...(request.teacher && { teacher: of(request.teacher) }) };
  return workloads[work as WorkloadName](models, sizes);
}
