// Several runs under one mpirun: JSON of { config, out, resume, kill: { rank, pause }, stop: the same } for each, and the engine.
import { joinCluster } from '../../.compiled/cluster/launched.js';
import { readTrainConfig } from '../../.compiled/runs/runConfig.js';
import { runTraining } from '../../.compiled/runs/train.js';
import { initBackend } from '../../.compiled/tensor/backend.js';

const cluster = await joinCluster({ rankTimeout: 120 });
const backend = await initBackend({ backend: process.argv[3] ?? 'wasm', threads: 1 });
for (const { config, out, resume = false, kill, stop } of JSON.parse(process.argv[2])) {
  let pauses = 0;
  // Every piece of work seems to take long enough for a pause.
  if (kill || stop) {
    let now = 0;
    performance.now = () => (now += 100);
  }
  // The directory is seen by rank 0 alone.
  const place = cluster.rank === 0 ? out : '/proc/nowhere';
  await runTraining(await readTrainConfig(config, []), place, {
    backend,
    cluster,
    resume,
    quiet: true,
    log: () => {},
    stopping() {
      pauses++;
      if (kill?.rank === cluster.rank && pauses > kill.pause) process.kill(process.pid, 'SIGKILL');
      return stop?.rank === cluster.rank && pauses > stop.pause;
    },
  }).catch((error) => {
    if (error.exitCode !== 130) throw error;
    if (cluster.rank === 0) console.error(error.message);
    process.exitCode = 130;
  });
}
