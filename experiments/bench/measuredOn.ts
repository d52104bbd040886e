import { describeEnvironment } from '../../src/runs/environment.js';
import type { BackendInfo } from '../../src/tensor/backend.js';

/** When and on what a benchmark ran, as its results say it. */
export function measuredOn(backend: BackendInfo) {
  const { seed: _, backend_reason: __, ...environment } = describeEnvironment(backend, 0);
  return { date: new Date().toISOString().slice(0, 10), ...environment };
}
