/** The process that rolloutWorkers.ts starts: its own copy of the models, with the student's weights read anew every round. */
import { readFileSync, writeFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { type BenchSource, benchModels } from '../../src/bench/models.js';
import type { Model } from '../../src/models/model.js';
import { rollout } from '../../src/rollout/engine.js';
import { type BackendName, initBackend } from '../../src/tensor/backend.js';
import type { Finished, Task } from './rolloutWorkers.js';

async function main(source: BenchSource, backend: BackendName): Promise<void> {
  await initBackend({ backend, threads: 1 });
  const { student, teacher } = await benchModels(source);
  process.on('message', (task: Task) => process.send!(work(student, teacher!, task)));
  process.on('disconnect', () => process.exit()); // the trainer is gone
  process.send!('ready');
}

function work(student: Model, teacher: Model, { weights, logits, prompts, alpha, options }: Task): Finished {
  const before = process.cpuUsage();
  readWeights(student, weights);
  const vocab = Math.min(student.config.vocabSize, teacher.config.vocabSize);
  const kept = new Float32Array(prompts.length * options.maxNewTokens * vocab);
  const trajectories = rollout(student, prompts, {
    ...options,
    teacher: { model: teacher, alpha },
    onTeacherLogits(rows, next) {
      const values = rows.dataSync<'float32'>();
      const width = rows.shape[1];
      next.forEach((at, row) => {
        if (!at) return;
        const to = (at.response * options.maxNewTokens + at.token) * vocab;
        kept.set(values.subarray(row * width, row * width + vocab), to);
      });
    },
  });
  writeFileSync(logits, kept);
  const { user, system } = process.cpuUsage(before);
  return { trajectories, cpuSeconds: (user + system) / 1e6 };
}

function readWeights(student: Model, file: string): void {
  const all = readFileSync(file);
  let at = all.byteOffset;
  for (const [name, old] of Object.entries(student.params)) {
    student.params[name] = tf.tensor(new Float32Array(all.buffer, at, old.size), old.shape);
    at += 4 * old.size;
    old.dispose();
  }
}

await main(JSON.parse(process.argv[2]!) as BenchSource, process.argv[3] as BackendName);
