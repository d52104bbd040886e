import type { Summary } from '../evaluation/metrics/statistics.js';
import type { StepRecord } from '../training/loop.js';
import { type MetricsLog, openMetricsLog, readMetrics } from './metricsLog.js';
import { createProgress, type Progress } from './progress.js';
import { runPaths } from './runDirectory.js';
import { openTensorBoard, type TensorBoardWriter } from './tensorboard.js';

/** The two or three numbers of a step that a person watches. */
const watched = ['loss', 'reverse_kl', 'response_length'];

/**
 * Everything a run writes while it goes on: metrics.jsonl (repeatable to the byte but for `wall_s`), timing.jsonl
 * (tokens/s and memory, which no two runs share), TensorBoard events, and live progress.
 */
export class RunLog {
  private stepStarted = performance.now();
  private readonly opened = performance.now();

  private constructor(
    private readonly metrics: MetricsLog,
    private readonly timing: MetricsLog,
    private readonly board: TensorBoardWriter,
    private readonly progress: Progress,
    /** Seconds that the run had taken before this process. */
    private readonly secondsBefore: number,
    /** Seconds spent in optimizer steps and rollouts, validation and saving left out. */
    public trainSeconds: number,
    /** Tokens that teachers have read or written for training. */
    public teacherTokens: number,
  ) {}

  /** @param resumeAt step of the checkpoint that the run goes on from, or undefined for a new run */
  static open(
    directory: string,
    options: {
      resumeAt: number | undefined;
      unvalidated?: boolean;
      steps: number;
      label: string;
      quiet: boolean;
      /** Steps of a round, where there are rounds: the first of them takes the longest. */
      period?: number;
    },
  ): RunLog {
    const paths = runPaths(directory);
    const { resumeAt, unvalidated = false, steps, label, quiet, period = 1 } = options;
    const at = resumeAt === undefined ? {} : { resumeAtStep: resumeAt, unvalidated };
    const metrics = openMetricsLog(paths.metrics, at);
    const timing = openMetricsLog(paths.timing, at);
    const last = readMetrics(paths.timing).at(-1);
    const trained = readMetrics(paths.metrics).findLast((row) => row.phase === 'train');
    const done = resumeAt ?? 0;
    return new RunLog(
      metrics,
      timing,
      openTensorBoard(paths.tensorboard, at),
      createProgress({ label, total: steps, done, unit: 'step', period, quiet }),
      last?.wall_s ?? 0,
      Number(last?.train_s ?? 0),
      Number(trained?.teacher_tokens ?? 0),
    );
  }

  step(record: StepRecord): void {
    const seconds = (performance.now() - this.stepStarted) / 1000;
    this.trainSeconds += seconds;
    const head = this.head(record.step, record.round, 'train');
    this.teacherTokens += record.teacherTokens;
    this.metrics.write({ ...head, ...record.metrics, teacher_tokens: this.teacherTokens });
    const timing = {
      train_s: round(this.trainSeconds),
      tokens_per_s: Math.round(record.tokens / seconds),
      rss_mb: Math.round(process.memoryUsage.rss() / 2 ** 20),
    };
    this.timing.write({ ...head, ...timing });
    this.board.scalars(record.step, prefixed('timing', timing));
    this.board.scalars(record.step, prefixed('train', record.metrics));
    const shown = watched.flatMap((name) =>
      name in record.metrics ? [[name, record.metrics[name]!] as const] : [],
    );
    this.progress.update(record.step, Object.fromEntries(shown));
    this.stepStarted = performance.now();
  }

  /**
   * @param seen what else the validation says: forms of the responses that left the teacher's while the reverse KL fell
   *   (driftWatch.ts), at the first validation what the teacher's own samples are like, and how many references have no words
   *   for the Rouge-L that chooses best/
   */
  evaluation(
    step: number,
    roundNumber: number,
    metrics: Record<string, Summary>,
    seen: {
      drifted?: readonly string[];
      teacher?: Record<string, Summary> | undefined;
      wordless?: number;
    } = {},
  ): void {
    const { drifted = [], teacher = {}, wordless = 0 } = seen;
    this.metrics.write({
      ...this.head(step, roundNumber, 'valid'),
      ...meansOf(metrics, 'valid_'),
      ...meansOf(teacher, 'teacher_'),
      ...(drifted.length > 0 && { drifted: drifted.join(' ') }),
      ...(wordless > 0 && { references: metrics.lm_loss!.n, references_without_words: wordless }),
    });
    this.board.scalars(step, meansOf(metrics, 'valid/'));
  }

  note(line: string): void {
    this.progress.note(line);
  }

  /** Keeps the time of work that is no training (validation, saving) out of the training time. */
  async untimed(work: () => Promise<void>): Promise<void> {
    const started = performance.now();
    await work();
    const taken = performance.now() - started;
    this.stepStarted += taken;
    this.progress.exclude(taken);
  }

  /** Before a checkpoint is made: what it goes on from must be on the disk as well. */
  sync(): void {
    this.metrics.sync();
    this.timing.sync();
  }

  close(): void {
    this.progress.finish();
    this.metrics.close();
    this.timing.close();
    this.board.close();
  }

  private head(step: number, roundNumber: number, phase: string) {
    const wall = this.secondsBefore + (performance.now() - this.opened) / 1000;
    return { step, round: roundNumber, phase, wall_s: round(wall) };
  }
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

function meansOf(metrics: Record<string, Summary>, prefix: string): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).map(([name, { mean }]) => [`${prefix}${name}`, mean]));
}

function prefixed(prefix: string, values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}/${name}`, value]));
}
