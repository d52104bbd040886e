import { Shards } from '../cluster/shards.js';
import type { Sequence } from '../models/packed.js';
import { needsActions, needsValues } from '../objectives/advantages.js';
import { isPolicyGradient, type TrainConfig } from '../training/config.js';
import { objectiveOf } from '../training/minillm.js';
import { batchIndices } from '../training/order.js';
import { keptTextLogits } from '../training/pretraining.js';
import { keptTeacherLogits } from '../training/teacherLogits.js';
import { validationSamples } from '../training/validationSamples.js';
import { addPasses, type Pass } from './flops.js';
import { type Decoding, decodingOf, lengths, trainingPasses } from './passes.js';

/** What a piece of work is for. */
export type Part =
  | 'student_rollout'
  | 'teacher_rollout'
  | 'teacher'
  | 'student'
  | 'value_head'
  | 'pretraining_teacher'
  | 'pretraining_student';

/** Work on one model, done `times` times in an optimizer step (in a list of work done once: in all). */
export interface Job {
  part: Part;
  /** 0 is the student, then the local teachers. */
  model: number;
  kind: 'train' | 'forward' | 'decode';
  pass: Pass;
  /** With kind `decode`; `pass` is then prefill and decoding together. */
  decoding?: Decoding;
  /** Tokens of prompts and responses, or those written, without padding. */
  tokens: number;
  times: number;
  /** `train.shards` cuts every list of rows by position; this is done on the rows of one of them. */
  shard: number;
  /** Of which of the batches that the mean step is taken over. */
  draw: number;
}

export interface Work {
  step: Job[];
  /** Before the first step. */
  once: Job[];
  /** At every validation. */
  validation: Job[];
}

/** What the work depends on besides the configuration. */
export interface WorkInputs {
  /** Prompts and gold responses to draw batches from; lengths are enough. */
  train: readonly Sequence[];
  trainRows: number;
  valid: readonly Sequence[];
  /** Local teachers. */
  teachers: number;
  /** The vocabulary that all models share. */
  vocabulary: number;
  hasText: boolean;
  /** Bytes of teacher logits that a round may keep; default that of the processor. */
  logitsBudget?: number | undefined;
  /** How long sampled responses are taken to be: as the gold ones, or as long as allowed. */
  responses: 'gold' | 'longest';
}

/** Batches that the mean step is taken over. */
const SAMPLED = 4;

/** What a run of the configured method computes, as training would cut it into passes. */
export function workOf(config: TrainConfig, inputs: WorkInputs): Work {
  const method = new Builder(config, inputs);
  return { step: method.step(), once: method.once(), validation: method.validation() };
}

class Builder {
  private readonly shards: Shards;
  private draw = 0;

  constructor(
    private readonly config: TrainConfig,
    private readonly inputs: WorkInputs,
  ) {
    this.shards = new Shards(config.train.shards);
  }

  step(): Job[] {
    return isPolicyGradient(this.config.method) ? this.policyStep() : this.supervisedStep();
  }

  /** `seqkd` lets the teacher answer every training prompt. */
  once(): Job[] {
    const { method } = this.config;
    if (method !== 'seqkd') return [];
    const { train, trainRows } = this.inputs;
    const all = train.length === trainRows ? train : this.rows(0, trainRows);
    return this.decode('teacher_rollout', 1, this.answered(all), 1);
  }

  /** See runs/validation.ts: the LM loss, the method's own loss, and samples scored by both models. */
  validation(): Job[] {
    const { method, train } = this.config;
    const gold = this.inputs.valid;
    const scored = this.forward('student', 0, gold, train.micro_batch_size, method === 'sft' ? 1 : 2);
    if (method === 'sft') return scored;
    const samples = this.answered(gold);
    const times = validationSamples(this.config, gold.length);
    return [
      ...scored,
      ...this.teachers.flatMap((t) => this.forward('teacher', t, samples, train.micro_batch_size, times)),
      ...this.decode('student_rollout', 0, samples, times),
      ...this.forward('student', 0, samples, train.micro_batch_size, times),
    ];
  }

  private get teachers(): number[] {
    return Array.from({ length: this.inputs.teachers }, (_, i) => i + 1);
  }

  /** A supervised method: gold responses, or in some share of the steps fresh ones. */
  private supervisedStep(): Job[] {
    const { method, train, data, distillm } = this.config;
    const { student, teacher } = this.shares();
    const jobs: Job[] = [];
    for (const [draw, batch] of this.batches(train.batch_size).entries()) {
      this.draw = draw;
      const share = 1 / SAMPLED;
      const answers = this.answered(batch);
      const mixed: [readonly Sequence[], number][] = [
        [batch, share * (1 - student - teacher)],
        [answers, share * (student + teacher)],
      ];
      jobs.push(...this.decode('student_rollout', 0, answers, share * student));
      if (teacher > 0) jobs.push(...this.decode('teacher_rollout', 1, answers, share * teacher));
      for (const [sequences, times] of mixed) {
        if (method !== 'sft')
          for (const t of this.teachers)
            jobs.push(...this.forward('teacher', t, sequences, train.micro_batch_size, times));
        jobs.push(...this.train('student', this.withPrompt(sequences), times));
      }
    }
    if (method === 'distillm' && distillm.lm_coef > 0 && (data.corpus || data.wordnet))
      jobs.push(...this.train('pretraining_student', this.text(), 1));
    return jobs.filter(({ times }) => times > 0);
  }

  /** Shares of the steps that learn from fresh answers of the student and of the teacher. */
  private shares(): { student: number; teacher: number } {
    const { method, gkd, imitkd, distillm } = this.config;
    if (method === 'seqkd') return { student: 0, teacher: 0 };
    if (method === 'gkd')
      return { student: gkd.lambda, teacher: gkd.seq_kd && this.inputs.teachers > 0 ? 1 - gkd.lambda : 0 };
    if (method === 'imitkd') {
      const r = imitkd.gold_decay;
      const gold = r === 0 || r === 1 ? r : (r - 1) / Math.log(r); // the mean of r^x over 0..1
      return { student: 1 - gold, teacher: 0 };
    }
    if (method === 'distillm') return { student: distillm.threshold / 2, teacher: 0 };
    return { student: 0, teacher: 0 };
  }

  private policyStep(): Job[] {
    const { config } = this;
    const { rollout, train, pretrain } = config;
    const objective = objectiveOf({ config });
    const steps = (rollout.inner_epochs * rollout.rollouts) / train.batch_size;
    const keepsRound = keptTeacherLogits(
      rollout.rollouts,
      rollout.max_new_tokens,
      this.inputs.vocabulary,
      this.inputs.logitsBudget,
    );
    const jobs: Job[] = [];
    for (const [draw, prompts] of this.batches(rollout.rollouts / rollout.samples).entries()) {
      this.draw = draw;
      const share = 1 / SAMPLED;
      const given = rollout.states === 'gold';
      const asked = given ? prompts : this.answered(prompts);
      const round = asked.flatMap((s) => Array.from({ length: rollout.samples }, () => s));
      // Of every shard of the round equally many (training/minillm.ts).
      const batch = this.parts(round).flatMap((part) => part.slice(0, train.batch_size / train.shards));
      const read = (who: 'student' | 'teacher', model: number): Job[] =>
        given
          ? this.forward(who, model, round, train.micro_batch_size, share / steps)
          : this.decode(`${who}_rollout`, model, round, share / steps);
      jobs.push(...read('student', 0), ...this.teachers.flatMap((t) => read('teacher', t)));
      if (needsValues(objective))
        jobs.push(...this.forward('value_head', 0, round, train.micro_batch_size, share / steps));
      if (needsActions(objective)) jobs.push(...this.head('value_head', batch, share));
      if (given || !keepsRound)
        for (const t of this.teachers)
          jobs.push(...this.forward('teacher', t, batch, train.micro_batch_size, share));
      jobs.push(...this.train('student', batch, share));
      if (objective.gold_coef > 0) {
        const perShard = train.batch_size / rollout.samples / train.shards;
        const gold = this.parts(prompts).flatMap((part) => part.slice(0, perShard));
        jobs.push(...this.train('student', gold, share));
      }
    }
    if (!this.inputs.hasText || objective.lm_coef === 0) return jobs;
    const text = this.text();
    const perPass = rollout.rollouts / train.batch_size;
    const fresh = pretrain.rows === 'step' || rollout.inner_epochs === 1;
    const tokens = perPass * text.length * (pretrain.length - 1);
    const kept = fresh ? 0 : keptTextLogits(tokens, this.inputs.vocabulary) / tokens;
    const times = kept / rollout.inner_epochs + (1 - kept);
    if (objective.kd_ratio > 0 && pretrain.teacher_cache === undefined)
      for (const t of this.teachers)
        jobs.push(...this.forward('pretraining_teacher', t, text, train.micro_batch_size, times));
    return [...jobs, ...this.train('pretraining_student', text, 1)];
  }

  private text(): Sequence[] {
    const { pretrain, train } = this.config;
    return Array.from({ length: pretrain.batch_size ?? train.batch_size }, () =>
      lengths(1, pretrain.length - 1),
    );
  }

  private batches(size: number): Sequence[][] {
    return Array.from({ length: SAMPLED }, (_, step) => this.rows(step, size));
  }

  private rows(step: number, size: number): Sequence[] {
    const { train } = this.inputs;
    return batchIndices(this.config.seed, 'train', step, train.length, size).map((i) => train[i]!);
  }

  /** The same prompts with responses as long as sampled ones are taken to be. */
  private answered(sequences: readonly Sequence[]): Sequence[] {
    const most = this.config.rollout.max_new_tokens;
    return sequences.map(({ promptIds, responseIds }) =>
      lengths(
        promptIds.length,
        this.inputs.responses === 'longest' ? most : Math.min(most, responseIds.length),
      ),
    );
  }

  /** `sft` with a loss on the prompt: all tokens but the first meet the vocabulary. */
  private withPrompt(sequences: readonly Sequence[]): readonly Sequence[] {
    if (this.config.method !== 'sft' || this.config.train.prompt_weight === 0) return sequences;
    return sequences.map((s) => lengths(1, s.promptIds.length + s.responseIds.length - 1));
  }

  private train(part: Part, sequences: readonly Sequence[], times: number): Job[] {
    return this.pass(part, 0, 'train', sequences, this.config.train.micro_batch_size, times);
  }

  private forward(
    part: Part,
    model: number,
    sequences: readonly Sequence[],
    size: number | undefined,
    times: number,
  ) {
    return this.pass(part, model, 'forward', sequences, size, times);
  }

  private decode(part: Part, model: number, sequences: readonly Sequence[], times: number): Job[] {
    if (times === 0) return [];
    return this.parts(sequences).map((own, shard) => {
      const decoding = decodingOf(own, this.config.rollout.batch_size);
      const all = addPasses([decoding.prefill, decoding.decode]);
      const { tokens } = decoding;
      return { part, model, kind: 'decode', pass: all, decoding, tokens, times, shard, draw: this.draw };
    });
  }

  /** The student's output head alone, over response tokens. */
  private head(part: Part, sequences: readonly Sequence[], times: number): Job[] {
    return this.parts(sequences).map((own, shard) => {
      const rows = own.reduce((sum, s) => sum + s.responseIds.length, 0);
      const pass = { tokens: 0, pairs: 0, rows };
      return { part, model: 0, kind: 'forward', pass, tokens: 0, times, shard, draw: this.draw };
    });
  }

  private pass(
    part: Part,
    model: number,
    kind: 'train' | 'forward',
    sequences: readonly Sequence[],
    size: number | undefined,
    times: number,
  ): Job[] {
    return this.parts(sequences).map((own, shard) => {
      const tokens = own.reduce((sum, s) => sum + s.promptIds.length + s.responseIds.length, 0);
      const work = addPasses(trainingPasses(own, size));
      return { part, model, kind, pass: work, tokens, times, shard, draw: this.draw };
    });
  }

  /** The rows of every shard. */
  private parts(sequences: readonly Sequence[]): Sequence[][] {
    return this.shards.own.map((shard) => this.shards.part(sequences, shard));
  }
}
