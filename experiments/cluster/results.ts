/** What the laboratory found: one JSON and one page of tables. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { markdownTable } from '../bench/markdown.js';
import { commit } from '../commit.js';
import type { CheckpointState } from './place.js';

/** One run to its end. */
export interface Finished {
  what: string;
  command: string;
  ranks: number;
  seconds: number;
  /** SHA-256 of final/model.safetensors, and of metrics.jsonl without the seconds. */
  student: string;
  metrics: string;
  files: number;
  /** Files that are not those of one process alone. */
  differing: string[];
}

/** One run that something ended. */
export interface Stopped {
  what: string;
  command: string;
  /** The step that was logged last, and the steps of its round. */
  at_step: number;
  round: [first: number, last: number];
  seconds_to_end: number;
  exit: number | string;
  line: string;
  /** Its newest; `whole`: with the bytes of one process's of that step. */
  checkpoint: { step: number; state: CheckpointState };
}

export interface Found {
  date: string;
  machine: Record<string, string | number>;
  shards: number;
  finished: Finished[];
  stopped: Stopped[];
  facts: Record<string, string | number>;
  /** What is not as it must be. */
  wrong: string[];
}

export function newFound(shards: number, versions: Record<string, string>): Found {
  const machine = {
    ...{ cpu: cpus()[0]!.model.trim(), cores: cpus().length, kernel: release(), node: process.version },
    ...versions,
    commit: commit(),
  };
  const date = new Date().toISOString().slice(0, 10);
  return { date, machine, shards, finished: [], stopped: [], facts: {}, wrong: [] };
}

/** Enough of a digest to compare by eye; the JSON has the whole. */
const short = (digest: string): string => `\`${digest.slice(0, 12)}\``;
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

export function page(title: string, found: Found): string {
  const machine = Object.entries(found.machine).map(([name, value]) => `${name} ${value}`);
  const finished = found.finished.map((run) => [
    ...[run.what, `\`${run.command}\``, String(run.ranks), run.seconds.toFixed(1), short(run.student)],
    ...[short(run.metrics), run.differing.length === 0 ? `none of ${run.files}` : run.differing.join(', ')],
  ]);
  const stopped = found.stopped.map((run) => [
    ...[run.what, `\`${run.command}\``, `${run.at_step} of ${run.round.join('–')}`],
    ...[run.seconds_to_end.toFixed(1), String(run.exit), cell(run.line)],
    `${run.checkpoint.step}, ${run.checkpoint.state}`,
  ]);
  const parts = [
    `# ${title}\n\nWritten by the laboratory; do not edit it by hand. ${found.date}; ${machine.join(', ')}.\n`,
    `## Runs to the end, \`train.shards: ${found.shards}\`\n`,
    markdownTable(
      ['run', 'command', 'ranks', 'seconds', 'student', 'metrics', 'files that differ from one process'],
      finished,
      [0, 1, 4, 5, 6],
    ),
    ...(stopped.length > 0
      ? [
          '## Runs that something ended\n',
          markdownTable(
            [
              'what',
              'command',
              'step, of round',
              'seconds to the end',
              'exit code, or state of the job',
              'line',
              'newest checkpoint',
            ],
            stopped,
            [0, 1, 2, 5, 6],
          ),
        ]
      : []),
    '## Facts\n',
    markdownTable(
      ['', ''],
      Object.entries(found.facts).map(([name, value]) => [name, cell(String(value))]),
      [0, 1],
    ),
    found.wrong.length === 0
      ? 'Everything is as it must be.\n'
      : `## Wrong\n\n${found.wrong.map((line) => `- ${line}\n`).join('')}`,
  ];
  return parts.join('\n');
}

/** Writes `<name>.json` and `<name>.md`. */
export function writeFound(folder: string, name: string, title: string, found: Found): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(found, null, 2)}\n`);
  writeFileSync(join(folder, `${name}.md`), page(title, found));
}
