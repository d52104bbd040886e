import type { Sequence } from '../models/packed.js';
import type { Teacher } from './teacher.js';

interface Job {
  sequence: Sequence;
  done(values: Float32Array): void;
  failed(error: unknown): void;
}

/**
 * Requests that come at the same time share a forward pass: what is waiting when the model is free is read together, shortest
 * sequences first. Between two passes the process answers the network.
 */
export class ScoringQueue {
  private waiting: Job[] = [];
  private running = false;

  /** @param batchSize sequences read together at most */
  constructor(
    private readonly teacher: Teacher,
    private readonly batchSize: number,
  ) {}

  /** Distributions of all sequences, [T·V] each, in their order. */
  submit(sequences: readonly Sequence[]): Promise<Float32Array[]> {
    const results = sequences.map(
      (sequence) =>
        new Promise<Float32Array>((done, failed) => this.waiting.push({ sequence, done, failed })),
    );
    if (!this.running) {
      this.running = true;
      setImmediate(() => this.pass());
    }
    return Promise.all(results);
  }

  private pass(): void {
    const length = ({ sequence }: Job): number => sequence.promptIds.length + sequence.responseIds.length;
    const jobs = this.waiting.splice(0, this.batchSize).sort((a, b) => length(a) - length(b));
    try {
      const values = this.teacher.distributions(jobs.map(({ sequence }) => sequence));
      for (const [i, job] of jobs.entries()) job.done(values[i]!);
    } catch (error) {
      for (const job of jobs) job.failed(error);
    }
    this.running = this.waiting.length > 0;
    if (this.running) setImmediate(() => this.pass());
  }
}
