import { aligned } from '../runs/alignedText.js';
import type { Plan } from './plan.js';
import type { RanksPlan } from './ranks.js';

/** A plan as aligned lines. */
export function planTable(plan: Plan): string[] {
  const { machine, schedule: s, memory: m } = plan;
  return [
    ...section(
      `${plan.method} on ${machine.backend} (${machine.engine}), ${machine.threads} threads`,
      models(plan),
    ),
    ...section('data', data(plan)),
    ...section('schedule', [
      ['optimizer steps', count(s.optimizer_steps)],
      ['global batch', `${count(s.global_batch)} = ${s.micro_batch} × ${s.accumulation}`],
      ...(s.rounds === null
        ? []
        : [
            [
              'rounds',
              `${count(s.rounds)} of ${count(s.rollouts_per_round!)} rollouts, ${s.steps_per_round} steps`,
            ],
            ['rollouts', count(s.rollouts!)],
          ]),
      ['passes over the prompts', s.epochs === null ? 'not known' : decimals(s.epochs)],
      ['validations, checkpoints', `${count(s.validations)}, ${count(s.checkpoints)}`],
    ]),
    ...section('an optimizer step', perStep(plan)),
    ...section('in all', inAll(plan)),
    ...section('memory', [
      [machine.memory_of === 'card' ? 'in use before' : 'process', bytes(m.process)],
      ['student: weights, Adam moments', `${bytes(m.student_weights)} + ${bytes(m.adam_moments)}`],
      ['teacher: weights', bytes(m.teacher_weights)],
      ['teacher logits kept', bytes(m.teacher_logits_kept)],
      ['rollout: KV caches, logits', `${bytes(m.kv_cache)} + ${bytes(m.decode_logits)}`],
      ['backward: activations, logits', `${bytes(m.activations)} + ${bytes(m.logits)}`],
      ['  activations, checkpointed', bytes(m.activations_with_checkpointing)],
      ['update: gradients', bytes(m.gradients)],
      ['validation', bytes(m.validation)],
      [
        `largest (${m.peak_in})`,
        `${bytes(m.total)} of ${bytes(machine.memory_total)}${machine.memory_of === 'card' ? ' of the card' : ''}${m.fits ? '' : ': does not fit'}`,
      ],
      ['disk', bytes(plan.disk)],
    ]),
    ...(plan.ranks ? ranksLines(plan.ranks) : []),
    ...(plan.unknown.length > 0 ? ['not known:', ...plan.unknown.map((line) => `  ${line}`)] : []),
  ];
}

function section(title: string, rows: string[][]): string[] {
  return [
    `${title}:`,
    ...aligned(rows)
      .split('\n')
      .map((line) => `  ${line}`),
    '',
  ];
}

function models(plan: Plan): string[][] {
  const named = { there: '', absent: ' (config.json only)', new: ' (new)' };
  return plan.models.map(({ role, family, parameters, block_parameters, weights, trained, shared }) => [
    `${role}: ${family}${named[weights]}`,
    `${count(parameters)} parameters, ${count(block_parameters)} in blocks${trained === undefined ? '' : `; adapters of ${count(trained)} train`}${shared ? "; the student's base, in memory once" : ''}`,
  ]);
}

function data({ data: d }: Plan): string[][] {
  const length = `${decimals(d.mean_prompt_tokens)} + ${decimals(d.mean_response_tokens)}`;
  return [
    [
      'training rows',
      d.train_rows === null ? 'not read' : `${count(d.train_rows)}, ${count(d.dropped_rows!)} dropped`,
    ],
    ...(d.train_tokens === null ? [] : [['training tokens', count(d.train_tokens)]]),
    [d.counted ? 'prompt + response, mean' : 'prompt + response, at most', length],
    ['validation rows', count(d.validation_rows)],
    ...(d.text_pieces === 0
      ? []
      : [['pieces of plain text', d.text_pieces === null ? 'not counted' : count(d.text_pieces)]]),
  ];
}

function perStep({ tokens_per_step, flops_per_step, time }: Plan): string[][] {
  const names = [...Object.keys(tokens_per_step), ...(time ? ['optimizer'] : []), 'total'];
  const cell = (value: number | undefined, show: (x: number) => string): string =>
    value === undefined ? '' : show(value);
  return [
    ['', 'tokens', 'FLOP', ...(time ? ['seconds'] : [])],
    ...names.map((name) => [
      name.replaceAll('_', ' '),
      cell(tokens_per_step[name], (n) => count(Math.round(n))),
      cell(flops_per_step[name], si),
      ...(time ? [cell(time.per_step[name], significant)] : []),
    ]),
  ];
}

function inAll({ flops, time }: Plan): string[][] {
  const rows = [['FLOP', `${si(flops.total)}, validation ${si(flops.validation)} of it`]];
  if (!time) return [...rows, ['time', 'not measured']];
  return [
    ...rows,
    ['training', `${duration(time.training)}, give or take a factor of 2`],
    ['  if every response is as long as allowed', duration(time.training_longest_responses)],
    ['validation', duration(time.validation)],
  ];
}

function ranksLines({ ranks, shards, network, exchanged_per_step, wire, ...plan }: RanksPlan): string[] {
  const { bytes: sent, messages } = exchanged_per_step;
  const several = (n: number, what: string): string => `${count(n)} ${what}${n === 1 ? '' : 's'}`;
  const line = `${(network.bandwidth * 8) / 1e9} Gbit/s, ${Number((network.latency * 1e6).toPrecision(3))} µs`;
  const exchanged = section(`on ${several(ranks, 'rank')}, ${several(shards, 'shard')}, ${line}`, [
    ['sent and received in a step', `${bytes(sent)}, ${several(Math.round(messages), 'message')}`],
    ['  on the wire', `${significant(wire)} s`],
    ['memory of a rank', bytes(plan.memory)],
  ]);
  if (!plan.times) return exchanged;
  const pays =
    plan.pays_up_to === shards
      ? 'every doubling up to train.shards shortens the run by 10 % or more'
      : `more than ${count(plan.pays_up_to!)} no longer pay: twice as many shorten the run by less than 10 %`;
  return [
    ...exchanged.slice(0, -1),
    ...section('  ranks', [
      ['', 'step, s', 'exchange, s', 'run', 'efficiency'],
      ...plan.times.map(({ ranks: n, per_step, total, efficiency }) => [
        `${count(n)}${n === ranks ? ' (asked)' : ''}`,
        significant(per_step.total),
        significant(per_step.exchange ?? 0),
        duration(total),
        `${(100 * efficiency).toFixed(0)} %`,
      ]),
    ]).slice(0, -1),
    `  ${pays}`,
    '',
  ];
}

function count(n: number): string {
  return n.toLocaleString('en-US');
}

function decimals(x: number): string {
  return x.toFixed(1);
}

function significant(x: number): string {
  return x >= 100 ? x.toFixed(0) : x.toPrecision(2);
}

function si(x: number): string {
  const units = ['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(x, 1)) / 3)));
  return `${(x / 1000 ** power).toPrecision(3)} ${units[power]}`.trim();
}

function bytes(n: number): string {
  return n >= 1e9 ? `${(n / 1e9).toFixed(2)} GB` : `${(n / 1e6).toFixed(n >= 1e7 ? 0 : 1)} MB`;
}

function duration(seconds: number): string {
  if (seconds < 120) return `${significant(seconds)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86_400).toFixed(1)} days`;
}
