// Asks for one place again and again, beside other processes that do the same, and looks whether it is alone there.
//
//     node claimer.mjs COMPILED-SOURCES LOCK CRITICAL SECONDS
//
// Prints a line of JSON for every try: {"got": true} alone in the place, {"got": false} refused, {"together": pid} not alone.
import { openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [sources, lock, critical, seconds] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(sources, 'runs', name)).href);
const { claim } = await load('claim.js');
const { identityOf, whereabouts } = await load('processIdentity.js');
const mine = identityOf(process.pid);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

/** Marks the place. @returns a living process that was in it */
async function enter() {
  for (let tries = 0; ; tries++) {
    try {
      writeFileSync(openSync(critical, 'wx'), mine);
      return undefined;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const other = whereabouts(readFileSync(critical, 'utf8'));
      if (other.now === 'running') return other.pid;
      // Of one that was killed; an empty one may be about to be written by one that lives.
      if (tries === 3) rmSync(critical);
      else await wait(10);
    }
  }
}

for (const end = Date.now() + 1000 * seconds; Date.now() < end; ) {
  let release;
  try {
    release = await claim(lock, 'the place', 'is there');
  } catch (error) {
    if (error.name !== 'UsageError' || !/process \d+ is there/.test(error.message))
      say({ error: String(error) });
    else say({ got: false });
    await wait(2 * Math.random());
    continue;
  }
  const other = await enter();
  if (other !== undefined) say({ together: other });
  else {
    await wait(4 * Math.random());
    rmSync(critical);
    say({ got: true });
  }
  await release();
}
