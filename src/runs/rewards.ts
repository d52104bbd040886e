import { setTimeout as wait } from 'node:timers/promises';
import { UsageError } from '../errors.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { TrainConfig } from '../training/config.js';
import { type RewardConfig, rewardName } from '../training/configParts.js';
import type { RewardFunction, RewardSource, Rewards } from '../training/rewardSource.js';
import { assertRewards } from './configChecks.js';
import { RewardThread } from './rewardThread.js';

/** A reward of a library's caller: a function of his own process. */
export interface GivenReward {
  name: string;
  reward: RewardFunction;
  /** Default 1. */
  weight?: number;
  /** Seconds for a batch; default 60. A function that never returns to the event loop cannot be ended: give such a one as a module. */
  timeout?: number;
  /** Responses in a batch; default 64. */
  batchSize?: number;
}

/**
 * The rewards of a run, ready to be asked: modules are loaded, each in a thread. Whoever opens them closes them.
 *
 * @throws UsageError for a method or an objective that takes none, naming the field whose module cannot be loaded (in time) or lacks
 *   the function, or two rewards of one name
 */
export async function openRewards(
  config: TrainConfig,
  given: readonly GivenReward[],
  tokenizer: Tokenizer,
): Promise<Rewards & { close(): void }> {
  assertRewards(config, [...(config.rewards ?? []).map(rewardName), ...given.map(({ name }) => name)]);
  for (const { name } of given)
    if (!/^\w+$/.test(name))
      throw new UsageError(`rewards: the name ${JSON.stringify(name)}; expected letters, digits and _`);
  const sources: RewardSource[] = [];
  const close = (): void => {
    for (const source of sources) source.close?.();
  };
  try {
    for (const [i, reward] of (config.rewards ?? []).entries()) sources.push(await fromModule(reward, i));
  } catch (error) {
    close();
    throw error;
  }
  for (const { name, reward, weight = 1, timeout = 60, batchSize = 64 } of given) {
    sources.push({ name, weight, timeout, batchSize, ask: async (batch) => reward(batch) });
  }
  return { sources, tokenizer, close };
}

async function fromModule(reward: RewardConfig, index: number): Promise<RewardSource> {
  const { module, weight, timeout, batch_size } = reward;
  const thread = new RewardThread(module, reward.export);
  const timer = new AbortController();
  const late = wait(1000 * timeout, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`is not loaded within ${timeout} s, rewards[${index}].timeout`);
  });
  try {
    await Promise.race([thread.ready, late]);
  } catch (error) {
    thread.close();
    throw new UsageError(`rewards[${index}].module: ${module}: ${why(error as NodeJS.ErrnoException)}`);
  } finally {
    late.catch(() => {}); // where it is broken off
    timer.abort();
  }
  return {
    ...{ name: rewardName(reward), weight, module, timeout, batchSize: batch_size },
    ask: (batch) => thread.ask(batch),
    close: () => thread.close(),
  };
}

function why({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION')
    return `Node ${process.version} reads no TypeScript; write it as .mjs, take Node 22.18 or newer, or install tsx beside this package`;
  return message.startsWith('has no function')
    ? `${message}; expected one as export default ({ prompts, responses, rows }) => [ … a number for each … ]`
    : message;
}
