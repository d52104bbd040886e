import type { Tokenizer } from '../text/tokenizer.js';
import { isPart, tokenTexts } from '../text/tokenTexts.js';
import type { Inspection } from '../training/inspect.js';
import type { Rescored } from '../training/rescore.js';

/** A column: its title and the cell of token t of response b. */
type Column = [title: string, cell: (b: number, t: number) => string];

/** An inspection for people: a table of tokens per response, the parts of the loss, the gradient by parameter. */
export function inspectionTable(
  result: Inspection,
  records: readonly Rescored[],
  tokenizer: Tokenizer | undefined,
): string {
  const trajectories = records.map((r) => r.trajectory);
  const of =
    (values: readonly ArrayLike<number>[]) =>
    (b: number, t: number): string =>
      values[b]![t]!.toFixed(4);
  const columns: Column[] = [
    ['t', (_, t) => String(t)],
    ['id', (b, t) => String(trajectories[b]!.responseIds[t])],
    ...(tokenizer ? [['token', quotedTokens(tokenizer, trajectories)] as Column] : []),
    ['ln q_old', of(trajectories.map((t) => t.studentLogprobs))],
    ['ln p', of(trajectories.map((t) => t.teacherLogprobs!))],
    ['w', of(result.w)],
    ['reward', of(result.rewards)],
    ...(result.task_rewards ? [['task', of(result.task_rewards)] as Column] : []),
    ['return', of(result.returns)],
    ['advantage', of(result.advantages)],
    ['ln q_new', of(result.logprobs_new)],
    ['ratio', of(result.ratio)],
    ['clip', (b, t) => (result.clipped[b]![t] ? '*' : '')],
    ['pg', of(result.pg_per_token)],
    ['KL', of(result.kl)],
  ];
  const blocks = trajectories.map((trajectory, b) => {
    const title = `response ${b + 1} of ${trajectories.length} (${trajectory.promptIds.length} prompt tokens)`;
    const rows = Array.from(trajectory.responseIds, (_, t) => columns.map(([, cell]) => cell(b, t)));
    return `${title}\n${grid([columns.map(([name]) => name), ...rows])}`;
  });
  const bonus = result.ent_loss === 0 ? [] : (['ent_loss'] as const);
  const parts = ['pg_loss', 'reg_loss', ...bonus, 'lm_loss', 'ds_loss', 'pt_loss', 'total_loss'] as const;
  const scalars = [...parts, 'clipped_fraction', 'tokens', 'grad_norm'] as const;
  const norms = Object.entries(result.param_grad_norms);
  return [
    ...blocks,
    grid(scalars.map((name) => [name, number(result[name])])),
    `gradient norms\n${grid(norms.map(([name, norm]) => [name, number(norm)]))}`,
  ].join('\n\n');
}

function number(x: number): string {
  return Number.isInteger(x) ? String(x) : x.toPrecision(7);
}

/** Quoted, so that spaces and line breaks show; `…` for the parts of a character before its last. */
function quotedTokens(
  tokenizer: Tokenizer,
  trajectories: readonly { promptIds: ArrayLike<number>; responseIds: ArrayLike<number> }[],
): (b: number, t: number) => string {
  const texts = trajectories.map(({ promptIds, responseIds }) =>
    tokenTexts(tokenizer, responseIds, promptIds),
  );
  return (b, t) => (isPart(texts[b]!, t) ? '…' : JSON.stringify(texts[b]![t]));
}

/** Columns as wide as their widest cell, right-aligned. */
function grid(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, c) => Math.max(...rows.map((row) => row[c]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, c) => cell.padStart(widths[c]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
