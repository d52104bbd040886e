import type { Sequence } from '../models/packed.js';
import type { Teacher } from './teacher.js';

interface Job {
  sequence: Sequence;
  /** Of the request it came with. */
  over: AbortSignal;
  done(values: Float32Array): void;
  failed(error: unknown): void;
}

/** More is asked for than the queue takes at a time. */
export class QueueFull extends Error {}

/**
 * Requests that come at the same time share a forward pass: what is waiting when the model is free is read together, shortest
 * sequences first. Between two passes the process answers the network; a request whose client has gone is not read.
 */
export class ScoringQueue {
  private waiting: Job[] = [];
  private running = false;
  private promised = 0;

  /** @param batchSize sequences read together at most @param limit floats of distributions that requests may wait for */
  constructor(
    private readonly teacher: Teacher,
    private readonly batchSize: number,
    private readonly limit: number,
  ) {}

  /**
   * Distributions of all sequences, [T·V] each, in their order.
   *
   * @param over aborted when the answer was sent, or nobody waits for it any more: what is not read yet is then rejected
   * @throws QueueFull when they would not fit beside what others wait for
   */
  submit(sequences: readonly Sequence[], over: AbortSignal): Promise<Float32Array[]> {
    over.throwIfAborted();
    const size = sequences.reduce((sum, s) => sum + s.responseIds.length, 0) * this.teacher.vocabSize;
    if (this.promised > 0 && this.promised + size > this.limit) throw new QueueFull();
    this.promised += size;
    over.addEventListener('abort', () => {
      this.promised -= size;
    });
    const results = sequences.map(
      (sequence) =>
        new Promise<Float32Array>((done, failed) => this.waiting.push({ sequence, over, done, failed })),
    );
    if (!this.running) {
      this.running = true;
      setImmediate(() => this.pass());
    }
    return Promise.all(results);
  }

  private pass(): void {
    const length = ({ sequence }: Job): number => sequence.promptIds.length + sequence.responseIds.length;
    for (const { over, failed } of this.waiting) if (over.aborted) failed(over.reason);
    this.waiting = this.waiting.filter(({ over }) => !over.aborted);
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
