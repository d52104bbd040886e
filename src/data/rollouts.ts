import { brief, UsageError } from '../errors.js';
import { tokenIds } from './prompts.js';
import { readRows } from './rows.js';

/** A response that somebody sampled, with what he knew of it; what is absent is computed anew. */
export interface GivenRollout {
  /** `file:line`, for messages. */
  where: string;
  promptIds: Int32Array;
  responseIds: Int32Array;
  /** ln q_old(y_t | s_t) at the sampling temperature. */
  oldLogprobs?: Float64Array;
  /** ln p(y_t | s_t) at temperature 1: the one in the reward. */
  teacherLogprobs?: Float64Array;
  /** ln p(y_t | s_t) at the sampling temperature: the one in the importance weight. */
  teacherLogprobsT?: Float64Array;
  /** What a task's rewards say, weighted and summed: of the response, or of each token. */
  taskReward?: number | Float64Array;
}

const lists = {
  oldLogprobs: 'old_logprobs',
  teacherLogprobs: 'teacher_logprobs',
  teacherLogprobsT: 'teacher_logprobs_t',
} as const;

/**
 * Reads rows `{"prompt_ids":[…],"response_ids":[…]}`, each list of log-probabilities optional, and `task_reward`, a number or one
 * for each token.
 *
 * @throws UsageError naming file, line and field for ids that are none, a list of another length than the response, or
 *   a number that is no log-probability or no reward
 */
export async function readRollouts(file: string): Promise<GivenRollout[]> {
  const rows: GivenRollout[] = [];
  for await (const { where, value } of readRows(file)) {
    const row: GivenRollout = {
      where,
      promptIds: requiredIds(value, 'prompt_ids', where),
      responseIds: requiredIds(value, 'response_ids', where),
    };
    for (const [key, field] of Object.entries(lists)) {
      const given = value[field];
      if (given === undefined || given === null) continue;
      row[key as keyof typeof lists] = logprobs(given, row.responseIds.length, `${where}: "${field}"`);
    }
    if (value.task_reward !== undefined && value.task_reward !== null)
      row.taskReward = reward(value.task_reward, row.responseIds.length, `${where}: "task_reward"`);
    rows.push(row);
  }
  if (rows.length === 0) {
    throw new UsageError(`${file}: has no rows; expected one {"prompt_ids":[…],"response_ids":[…]} per line`);
  }
  return rows;
}

/** A text as token ids. */
export interface GivenText {
  where: string;
  ids: Int32Array;
}

/** Reads rows `{"ids":[…]}` of plain text, two tokens or more. @throws UsageError naming file and line */
export async function readTexts(file: string): Promise<GivenText[]> {
  const rows: GivenText[] = [];
  for await (const { where, value } of readRows(file)) {
    const ids = requiredIds(value, 'ids', where);
    if (ids.length < 2)
      throw new UsageError(`${where}: "ids" has one token; a text needs two, the first predicts the second`);
    rows.push({ where, ids });
  }
  if (rows.length === 0) throw new UsageError(`${file}: has no rows; expected one {"ids":[…]} per line`);
  return rows;
}

function requiredIds(value: Record<string, unknown>, field: string, where: string): Int32Array {
  if (value[field] === undefined) {
    const found = Object.keys(value).slice(0, 6).join(', ') || 'nothing';
    throw new UsageError(
      `${where}: no "${field}" (found ${found.slice(0, 120)}); expected a list of token ids`,
    );
  }
  return Int32Array.from(tokenIds(value[field], `${where}: "${field}"`));
}

/** Above 0 only by rounding. */
const ROUNDING = 1e-3;

function reward(value: unknown, length: number, where: string): number | Float64Array {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  if (!Array.isArray(value) || value.length !== length || !value.every(Number.isFinite))
    throw new UsageError(
      `${where}: ${brief(value, 60)}; expected a finite number, or one for each of the ${length} response tokens`,
    );
  return Float64Array.from(value as number[]);
}

function logprobs(value: unknown, length: number, where: string): Float64Array {
  if (!Array.isArray(value)) throw new UsageError(`${where}: expected a list of log-probabilities`);
  if (value.length !== length) {
    throw new UsageError(
      `${where}: ${value.length} numbers for ${length} response tokens; expected one for each`,
    );
  }
  const bad = value.findIndex((x) => typeof x !== 'number' || !Number.isFinite(x) || x > ROUNDING);
  if (bad >= 0) {
    throw new UsageError(
      `${where}[${bad}]: ${brief(value[bad], 60)} is no log-probability; expected a finite number of at most 0, or leave the list out to have it computed`,
    );
  }
  return Float64Array.from(value as number[]);
}
