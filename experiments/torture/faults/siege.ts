import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { Rng } from '../../../src/random/streams.js';
import { attack, attacks, type Fate, kindOf, type Target } from './attacks.js';

export interface Siege {
  target: Target;
  connections: number;
  /** Seconds over which they come. */
  seconds: number;
  /** Within which a slow one must be closed. */
  limit: number;
  /** Called every half second. */
  tick?(): void;
}

export interface Outcome {
  fates: Fate[];
  /** Seconds that each honest request took, its repetitions included; Infinity where it was never answered rightly. */
  honest: number[];
  /** The most memory that the server took, in MB; undefined where it cannot be seen. */
  peak: number | undefined;
  wrong: string[];
}

/** Bad clients of all kinds upon a server, while honest ones ask it the same thing again and again. */
export async function besiege(siege: Siege, rng: Rng): Promise<Outcome> {
  const { target, connections, seconds, limit } = siege;
  const expected = await ask(target);
  if (expected.status !== 200) throw new Error(`the server does not answer: ${expected.status}`);
  const honest: number[] = [];
  let over = false;
  const asking = (async () => {
    while (!over) {
      honest.push(await askUntilAnswered(target, expected.body));
      await wait(200);
    }
  })();
  let peak: number | undefined;
  const watching = setInterval(() => {
    siege.tick?.();
    const memory = memoryOf(target.pid);
    if (memory !== undefined) peak = Math.max(peak ?? 0, memory);
  }, 500);
  const fates = await Promise.all(
    Array.from({ length: connections }, async () => {
      const kind = kindOf(rng());
      await wait(1000 * seconds * rng());
      return attack(kind, target, limit + 60);
    }),
  );
  over = true;
  await asking;
  clearInterval(watching);
  return { fates, honest, peak, wrong: faultsOf(fates, honest, limit) };
}

function faultsOf(fates: readonly Fate[], honest: readonly number[], limit: number): string[] {
  const wrong = fates.flatMap(({ kind, status, seconds, starved }) => {
    const { slow, statuses } = attacks[kind]!;
    if (slow && seconds - starved > limit) return [`${kind}: still open after ${limit} s`];
    const closedForRoom = status === 503 || status === 0;
    return closedForRoom || statuses.includes(status) || status === 408 ? [] : [`${kind}: status ${status}`];
  });
  const unanswered = honest.filter((x) => x === Number.POSITIVE_INFINITY).length;
  if (unanswered > 0) wrong.push(`${unanswered} of ${honest.length} honest requests were not answered`);
  return [...new Set(wrong)];
}

const BODY = JSON.stringify({ prompt: [[1, 2, 3, 4]], from: [1] });

function ask({ host, port }: Target): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => {
    const failed = () => resolve({ status: 0, body: '' });
    const options = {
      host,
      port,
      method: 'POST',
      path: '/minillm/v1/logprobs',
      agent: false,
      timeout: 20_000,
    };
    const asked = request(options, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('end', () =>
        resolve({ status: answer.statusCode!, body: Buffer.concat(parts).toString('base64') }),
      );
      answer.on('error', failed);
    });
    asked.on('error', failed);
    asked.on('timeout', () => asked.destroy());
    asked.end(BODY);
  });
}

/** As our own client does: again, with a growing pause, when the server has no room. */
async function askUntilAnswered(target: Target, expected: string): Promise<number> {
  const started = performance.now();
  for (let tries = 0; tries < 6; tries++) {
    const { status, body } = await ask(target);
    if (status === 200)
      return body === expected ? (performance.now() - started) / 1000 : Number.POSITIVE_INFINITY;
    await wait(250 * 2 ** tries);
  }
  return Number.POSITIVE_INFINITY;
}

function memoryOf(pid: number | undefined): number | undefined {
  try {
    const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) / 1024;
  } catch {
    return undefined;
  }
}
