import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Plan } from '../../src/plan/plan.js';
import { runInProcess } from '../helpers/cli.js';
import { emulatorAbsent } from '../helpers/emulator.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const CARD = 64 << 20;
process.env.MINILLM_EMULATOR_MEMORY = String(CARD);
const absent = await emulatorAbsent();
const place = temporaryDirectory('plan-cuda');
afterAll(place.remove);

describe.skipIf(absent)(`on a card${absent ? ` [skipped: ${absent}]` : ', emulated'}`, () => {
  let world: FileWorld;
  beforeAll(async () => {
    world = await writeFileWorld(place.path);
  });

  async function run<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await runInProcess(...args, '--json', '--backend', 'cuda');
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout) as T;
  }
  async function plan(change = {}, ...more: string[]): Promise<Plan> {
    const config = writeConfig(join(place.path, 'plan.yaml'), worldConfig(world, 'minillm', change));
    return run('plan', config, ...more);
  }

  it('plan takes the memory of the card, and measures it', async () => {
    const found = await plan();
    expect(found.machine).toMatchObject({ backend: 'cuda', memory_of: 'card', memory_total: CARD });
    expect(found.machine.memory_available).toBeLessThanOrEqual(CARD);
    expect(found.memory.process).toBe(CARD - found.machine.memory_available);
    expect(found.memory.fits).toBe(true);
    expect(found.calibration.map(({ role }) => role)).toEqual(['student', 'teacher']);
    expect(found.time!.training).toBeGreaterThan(0);
  });

  it('plan keeps the logits of a round that a quarter of the card takes, and says what does not fit', async () => {
    const vocabulary = 15;
    const round = (rollouts: number, tokens: number) => {
      const sizes = { rollouts, max_new_tokens: tokens, inner_epochs: 1, batch_size: 4 };
      const change = { rollout: sizes, train: { batch_size: rollouts, micro_batch_size: 1 } };
      return plan(change, '--without-data', '--no-calibrate');
    };
    const small = await round(4, 8);
    expect(small.memory.teacher_logits_kept).toBe(4 * 8 * vocabulary * 4);
    const many = CARD / 4 / (8 * vocabulary * 4) + 1;
    const large = await round(Math.ceil(many), 8);
    expect(large.memory.teacher_logits_kept).toBe(0);
  });

  it('bench tells the most that was handed out', async () => {
    const sizes = ['--shape', '1,16,2,20000', '--batch', '1', '--seq', '2', '--warmup', '0', '--repeat', '1'];
    const { peak_device_mb } = await run<{ peak_device_mb: number }>('bench', '--what', 'sft', ...sizes);
    // Weights, two moments, their gradient: 20,000 × 16 numbers each, and less than four times that for the rest.
    expect(peak_device_mb).toBeGreaterThanOrEqual(5);
    expect(peak_device_mb).toBeLessThan(20);
  });
});
