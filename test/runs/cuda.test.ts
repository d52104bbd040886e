import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { fingerprintOfRun, type Running, spawnSources } from '../helpers/cli.js';
import { emulatorAbsent } from '../helpers/emulator.js';
import { worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

// The processes that are started inherit the environment, and with it the emulator.
const absent = await emulatorAbsent();
const place = temporaryDirectory('cuda-run');
afterAll(place.remove);

/** Kills a run as soon as it has logged this many rows. */
async function killAfterRows(running: Running, out: string, rows: number): Promise<void> {
  const metrics = join(out, 'metrics.jsonl');
  while (running.child.exitCode === null) {
    if (existsSync(metrics) && readFileSync(metrics, 'utf8').split('\n').length > rows) break;
    await wait(5);
  }
  running.child.kill('SIGKILL');
}

describe.skipIf(absent)(`a run on the CUDA engine${absent ? ` [skipped: ${absent}]` : ', emulated'}`, () => {
  it.each(['tf32', 'bfloat16'])(
    'minillm, %s: ten steps twice give the same bytes, and so does a run that was killed and went on',
    async (precision) => {
      const world = await writeFileWorld(join(place.path, precision));
      const change = {
        precision,
        train: { steps: 10 },
        eval: { every: 5 },
        checkpoint: { every: 2, keep: 1 },
      };
      const config = writeConfig(
        join(place.path, precision, 'minillm.yaml'),
        worldConfig(world, 'minillm', change),
      );
      const start = (name: string, ...more: string[]): Running =>
        spawnSources(
          'train',
          config,
          '--out',
          join(place.path, precision, name),
          '--backend',
          'cuda',
          '--quiet',
          ...more,
        );
      expect(await start('whole').done).toMatchObject({ code: 0, stderr: '' });
      const whole = fingerprintOfRun(join(place.path, precision, 'whole'));
      expect(await start('again').done).toMatchObject({ code: 0 });
      expect(fingerprintOfRun(join(place.path, precision, 'again'))).toEqual(whole);

      const killed = start('killed');
      await killAfterRows(killed, join(place.path, precision, 'killed'), 5);
      expect((await killed.done).signal).toBe('SIGKILL');
      expect(await start('killed', '--resume').done).toMatchObject({ code: 0 });
      expect(fingerprintOfRun(join(place.path, precision, 'killed'))).toEqual(whole);
    },
  );
});
