import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { integer, type Rng, stream } from '../../../src/random/streams.js';
import { identityOf } from '../../../src/runs/processIdentity.js';
import { compiledProgram } from '../../../test/helpers/compiled.js';
import { difference, digestsOf, openRunWorld, type RunWorld, train } from '../faults/runs.js';
import type { Part, Work } from '../part.js';

const CLAIMER = fileURLToPath(new URL('../faults/claimer.mjs', import.meta.url));
/** Processes that want one place, and how long. */
const CLAIMERS = 4;
const SECONDS = 3;

export const locks: Part = {
  name: 'locks',
  what: `Processes that want one run directory. In most cases four of them ask for one place as fast as they can for three seconds, over
what a dead one left (nothing, its lock, an empty or torn file, a number that another process has now), while two of them are killed at random
and begun again: never may two be in the place together, and somebody must get it. In every fifth case two or three \`minillm train\` start on one directory in
the same moment: one must train and end with the bytes of a run alone, the others must be refused in one line.`,
  leavesOut:
    'directories shared by several machines: a lock of another host is never passed over, and its line says so.',
  share: 1,

  async run(work) {
    const world = await openRunWorld(work.directory);
    let whole: Map<string, string> | undefined;
    while (!work.over()) {
      const n = work.take();
      const rng = stream(work.seed, 'locks', n);
      const place = join(work.directory, `case-${n}`);
      mkdirSync(place);
      const together = n % 5 === 4;
      if (together) whole ??= await runAlone(world);
      const what = together
        ? await startTogether(work, world, place, rng, whole!)
        : await rush(work, place, rng);
      if (what) work.fail({ case: n, where: together ? 'train' : 'one place', what });
    }
  },

  async again(work, { case: n }) {
    const rng = stream(work.seed, 'locks', n);
    const world = await openRunWorld(work.directory);
    const place = join(work.directory, `again-${n}`);
    mkdirSync(place);
    return n % 5 === 4
      ? startTogether(work, world, place, rng, await runAlone(world))
      : rush(work, place, rng);
  },
};

/** What a process that has ended may have left. */
function leftBehind(rng: Rng): string | undefined {
  const own = identityOf(process.pid);
  const changed = (fields: object): string => JSON.stringify({ ...(JSON.parse(own) as object), ...fields });
  const texts = [
    undefined,
    '',
    own.slice(0, integer(rng, own.length - 2)),
    '\0'.repeat(own.length),
    changed({ pid: 2 ** 22 + 1 }), // above the largest number that Linux gives
    changed({ pid: process.pid, host: hostname(), started: '1' }),
  ];
  return texts[integer(rng, texts.length)];
}

async function rush(work: Work, place: string, rng: Rng): Promise<string | undefined> {
  const lock = join(place, '.run.pid');
  const left = leftBehind(rng);
  if (left !== undefined) writeFileSync(lock, left);
  const wrong: string[] = [];
  let got = 0;
  const heard = (line: string): void => {
    const said = JSON.parse(line) as { got?: boolean; together?: number; error?: string };
    if (said.got) {
      got++;
      work.count('claims that were granted');
    } else if (said.got === false) work.count('claims that were refused');
    else wrong.push(said.error ?? `two processes in one place (${said.together})`);
  };
  const moments = [rng(), rng()];
  const all = Array.from({ length: CLAIMERS }, (_, i) =>
    claimer(place, heard, (kill) => {
      const moment = moments[i];
      if (moment === undefined) return;
      setTimeout(
        () => {
          if (kill()) work.count('claimers killed');
        },
        1000 * SECONDS * moment,
      );
    }),
  );
  await Promise.all(all);
  return wrong[0] ?? (got === 0 ? 'nobody got the place' : undefined);
}

/** Begins a claimer, and after it was killed another one. */
async function claimer(
  place: string,
  heard: (line: string) => void,
  begun: (kill: () => boolean) => void,
): Promise<void> {
  const files = [dirname(dirname(compiledProgram)), join(place, '.run.pid'), join(place, 'critical')];
  const child = spawn(process.execPath, [CLAIMER, ...files, String(SECONDS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  begun(() => child.kill('SIGKILL'));
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) heard(line);
  });
  const signal = await new Promise((resolve) => child.on('close', (_, by) => resolve(by)));
  if (signal === 'SIGKILL') await claimer(place, heard, () => {});
}

async function runAlone(world: RunWorld): Promise<Map<string, string>> {
  const out = join(world.path, 'alone');
  const ended = await train(world.variants[0]!.config, out);
  if (ended.code !== 0) throw new Error(`the run alone failed: ${ended.stderr}`);
  return digestsOf(out);
}

async function startTogether(
  work: Work,
  { variants }: RunWorld,
  place: string,
  rng: Rng,
  whole: ReadonlyMap<string, string>,
): Promise<string | undefined> {
  const out = join(place, 'run');
  const left = leftBehind(rng);
  if (left !== undefined) writeFileSync(join(place, '.run.pid'), left);
  const late = rng() < 0.5 ? 3000 * rng() : 0;
  const starts = Array.from({ length: 2 + integer(rng, 2) }, async (_, i) => {
    if (i > 0) await wait(late);
    return train(variants[0]!.config, out);
  });
  const ended = await Promise.all(starts);
  work.count('training processes begun together', ended.length);
  // One that came after the first had ended finds a finished run, and writes its end again.
  const done = ended.filter(({ code }) => code === 0).length;
  if (done === 0) return `nobody trained: ${ended[0]!.stderr}`;
  for (const { code, stderr } of ended) {
    if (code === 0) continue;
    if (code !== 2 || !/^minillm: .*: process \d+ trains there; [^\n]*\n$/.test(stderr))
      return `exit code ${code}: ${stderr}`;
    work.count('training processes refused');
  }
  const differs = difference(whole, out);
  return differs.length > 0 ? `other bytes than a run alone: ${differs.slice(0, 5).join(', ')}` : undefined;
}
