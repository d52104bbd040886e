import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stream } from '../../../src/random/streams.js';
import { compiledProgram } from '../../../test/helpers/compiled.js';
import type { Target } from '../faults/attacks.js';
import { openRunWorld } from '../faults/runs.js';
import { besiege, type Outcome } from '../faults/siege.js';
import type { Part, Work } from '../part.js';

/** Within which a slow sender must be closed. */
const LIMIT = 30;
/** What the server may take in all, in MB: itself, 256 MiB of bodies, and what reading them needs. */
const MEMORY = 1024;

export const serve: Part = {
  name: 'serve',
  what: `\`minillm serve\` as a process of its own, with its defaults, under sieges of 10,000 connections that come within 200 seconds: silent ones,
headers, bodies and chunks by a byte every three seconds, bodies and chunks of 1 GB, answers that nobody reads, a thousand requests in one, JSON that
is none or nested 200,000 deep, wrong ids, texts of a million characters, 100,000 prompts, other models and pages, headers that are too
large, and no HTTP. Meanwhile an honest client asks again and again, on new connections, and repeats a refused request with growing pauses. Every honest
request must get the same bytes as before the siege, every slow connection must be closed within ${LIMIT} s (not counting the time in which the server or its besieger waited for a processor that
other programs had), every wrong request be refused
with its status, the memory stay below ${MEMORY} MB, and the server end cleanly by SIGINT.`,
  leavesOut:
    'attacks upon the operating system (floods of SYN packets, all ports used), and from several machines; TLS, which it does not speak.',
  share: 1,
  unable: () =>
    process.platform === 'linux' ? undefined : 'the memory of another process is read from /proc',

  async run(work) {
    const { path } = await openRunWorld(work.directory);
    while (!work.over()) {
      const n = work.take();
      const what = await oneSiege(work, join(path, 'world', 'teacher'), n);
      if (what) work.fail({ case: n, where: 'siege', what });
    }
  },

  async again(work, { case: n }) {
    const { path } = await openRunWorld(work.directory);
    return oneSiege(work, join(path, 'world', 'teacher'), n);
  },
};

async function oneSiege(work: Work, model: string, n: number): Promise<string | undefined> {
  const args = ['serve', model, '--port', '0', '--backend', 'wasm'];
  const server = spawn(process.execPath, [compiledProgram, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(server, 'close');
  const [line] = (await once(createInterface({ input: server.stdout }), 'line')) as [string];
  const { hostname, port } = new URL((JSON.parse(line) as { url: string }).url);
  const target: Target = { host: hostname, port: Number(port), vocabSize: 15, pid: server.pid! };
  const siege = { target, connections: 10_000, seconds: 200, limit: LIMIT };
  const outcome = await besiege(
    { ...siege, tick: () => void work.over() },
    stream(work.seed, 'serve', n),
  ).finally(() => server.kill('SIGINT'));
  const [code] = (await ended) as [number | null];
  tell(work, outcome);
  if (code !== 0) return `it ended with ${code}`;
  if ((outcome.peak ?? 0) > MEMORY) return `it took ${Math.round(outcome.peak!)} MB`;
  return outcome.wrong.join('; ') || undefined;
}

function tell(work: Work, { fates, honest, peak }: Outcome): void {
  work.count('connections', fates.length);
  for (const { status, seconds, starved } of fates) {
    work.count(status === 0 ? 'closed without an answer' : `answered ${status}`);
    if (seconds > LIMIT) work.count(`open for more than ${LIMIT} s by the clock`);
    if (seconds - starved > LIMIT) work.count(`open for more than ${LIMIT} s of time at a processor`);
  }
  work.count('honest requests', honest.length);
  work.count('honest requests answered with the right bytes', honest.filter(Number.isFinite).length);
  const sorted = [...honest].sort((a, b) => a - b);
  const at = (share: number): string => `${sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(2)} s`;
  const times = `${at(0.5)} (half of them), ${at(0.95)} (95 %), ${at(1)} (all)`;
  work.fact('last siege: honest requests answered within', times);
  const longest = fates.reduce((a, b) => (b.seconds > a.seconds ? b : a));
  const starved = `${longest.starved.toFixed(1)} s of them waiting for a processor`;
  work.fact('last siege: the longest connection', `${longest.seconds.toFixed(1)} s, ${starved}`);
  if (peak !== undefined) work.fact('last siege: most memory of the server', `${Math.round(peak)} MB`);
}
