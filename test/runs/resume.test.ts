import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type * as atomic from '../../src/runs/atomic.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { runTraining } from '../../src/runs/train.js';
import { initBackend } from '../../src/tensor/backend.js';
import { fingerprintOfRun } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

/** Called before, in the middle of and after everything that is written to disk. */
const moment = vi.hoisted(() => ({ now: () => {} }));
vi.mock('../../src/runs/atomic.js', async (original) => {
  const real = await original<typeof atomic>();
  return {
    ...real,
    writeFileAtomic: async (path: string, text: string) => {
      moment.now();
      await real.writeFileAtomic(path, text);
      moment.now();
    },
    writeDirectoryAtomic: async (path: string, fill: (directory: string) => Promise<void>) => {
      await real.writeDirectoryAtomic(path, async (directory) => {
        await fill(directory);
        moment.now();
      });
      moment.now();
    },
  };
});

const backend = await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('resume');
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

async function train(config: string, out: string, resume: boolean): Promise<void> {
  await runTraining(await readTrainConfig(config, []), out, {
    resume,
    backend,
    log: () => {},
    quiet: true,
    stopping: () => {
      moment.now();
      return false;
    },
  });
}

interface Case {
  config: string;
  reference: Record<string, string>;
  /** Copies of the run directory as a SIGKILL at different moments would have left it. */
  images: string[];
}

async function interrupted(name: string, change: Record<string, unknown>): Promise<Case> {
  const config = writeConfig(join(place.path, `${name}.yaml`), worldConfig(world, name, change));
  const out = join(place.path, `${name}-whole`);
  const images: string[] = [];
  moment.now = () => {
    if (!existsSync(out)) return;
    const image = join(place.path, `${name}-${images.length}`);
    cpSync(out, image, { recursive: true });
    images.push(image);
  };
  await train(config, out, false);
  moment.now = () => {};
  return { config, reference: fingerprintOfRun(out), images };
}

describe.each([
  ['sft', { train: { steps: 5, prompt_weight: 0.3 } }, 4],
  ['minillm', {}, 8],
  // The average of the batches before is part of the state.
  ['minillm-ema', { method: 'minillm', objective: { baseline: 'ema' } }, 4],
  // The values of the round, the head and its moments.
  [
    'minillm-value',
    { method: 'minillm', objective: { baseline: 'value', returns: 'gae-rao-blackwell', gae_lambda: 0.9 } },
    4,
  ],
  // And what says D in the round while the head has learned from it.
  ['minillm-action-value', { method: 'minillm', objective: { baseline: 'action-value' } }, 4],
  // A round that nobody sampled.
  [
    'minillm-gold',
    {
      method: 'minillm',
      objective: { returns: 'none', alpha: 0, gold_coef: 0.5 },
      rollout: { states: 'gold', rollouts: 8, inner_epochs: 2, max_new_tokens: 6 },
    },
    3,
  ],
  ['seqkd', { train: { steps: 3 } }, 4],
  ['reverse-kd', { train: { steps: 3 } }, 3],
  ['gkd', { train: { steps: 5 } }, 4],
  ['imitkd', { train: { steps: 3 }, imitkd: { gold_decay: 0.3 } }, 3],
  // Grows φ at every validation, and fills the buffer past its capacity.
  ['distillm', { distillm: { threshold: 0.6, capacity: 6, tolerance: -10 }, eval: { every: 1 } }, 6],
  ['opd', {}, 3],
  ['sft-lora', { method: 'sft', train: { steps: 3 }, lora: { rank: 2 } }, 3],
  // The teacher is the base of the adapters; norms train whole.
  [
    'minillm-lora',
    {
      method: 'minillm',
      teacher: join(place.path, 'student'),
      lora: { rank: 2, targets: ['q_proj', 'down_proj'], modules_to_save: ['norm'] },
    },
    3,
  ],
])('%s', (name, change, count) => {
  let run: Case;
  beforeAll(async () => {
    run = await interrupted(name, { checkpoint: { every: 2, keep: 1 }, ...change });
  });

  it('killed at any of many moments and resumed, it ends with the same bytes', async () => {
    expect(run.images.length).toBeGreaterThan(10);
    const kinds = run.images.map((image) => {
      const half = leftovers(image).length > 0 ? 'half-written' : 'whole';
      return `${half}, ${existsSync(join(image, 'checkpoints')) ? 'with' : 'without'} checkpoint`;
    });
    expect(new Set(kinds).size).toBe(4);
    // Not all of them every time: evenly spread, the first and the last included.
    const picked = Array.from(
      { length: count },
      (_, i) => run.images.at(Math.round((i * (run.images.length - 1)) / (count - 1)))!,
    );
    for (const image of picked) {
      await train(run.config, image, true);
      expect(fingerprintOfRun(image)).toEqual(run.reference);
      expect(leftovers(image)).toEqual([]);
    }
  });

  it('killed while a file or directory was being written, too', async () => {
    // The whole run without its newest checkpoint: torn in every way that a kill can tear it.
    const image = join(place.path, `${name}-torn`);
    cpSync(join(place.path, `${name}-whole`), image, { recursive: true });
    rmSync(join(image, 'final'), { recursive: true });
    const [newest] = readdirSync(join(image, 'checkpoints'));
    rmSync(join(image, 'checkpoints', newest!), { recursive: true });
    mkdirSync(join(image, 'checkpoints', '.tmp-7-4'));
    writeFileSync(join(image, 'checkpoints', '.tmp-7-4', 'model.safetensors'), 'half');
    renameSync(join(image, 'best'), join(image, '.tmp-7-best-old'));
    writeFileSync(join(image, 'environment.json.tmp-7'), '{"half');
    mkdirSync(join(image, 'samples'), { recursive: true });
    writeFileSync(join(image, 'samples', 'step-4.jsonl.tmp-7'), '{"half');
    appendFileSync(join(image, 'metrics.jsonl'), '{"step":9,"round":1,"pha');
    await train(run.config, image, true);
    expect(fingerprintOfRun(image)).toEqual(run.reference);
    expect(leftovers(image)).toEqual([]);
  });

  it('killed at its very first file, or resumed where there is nothing, it begins', async () => {
    const image = join(place.path, `${name}-first`);
    mkdirSync(image);
    writeFileSync(join(image, 'config.resolved.yaml.tmp-7'), 'meth');
    await train(run.config, image, true);
    expect(fingerprintOfRun(image)).toEqual(run.reference);
    expect(leftovers(image)).toEqual([]);
  });

  it('resumed after its end, it changes nothing', async () => {
    const whole = join(place.path, `${name}-whole`);
    const before = readFileSync(join(whole, 'metrics.jsonl'), 'utf8');
    await train(run.config, whole, true);
    expect(fingerprintOfRun(whole)).toEqual(run.reference);
    expect(readFileSync(join(whole, 'metrics.jsonl'), 'utf8')).toBe(before);
  });
});

function leftovers(directory: string): string[] {
  return readdirSync(directory, { recursive: true })
    .map(String)
    .filter((name) => /tmp/.test(name));
}
