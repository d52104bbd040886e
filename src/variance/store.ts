import { createHash } from 'node:crypto';
import { appendFile, mkdir, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { syncFile, writeAtomically } from '../durable.js';
import { UsageError } from '../errors.js';
import { weightsOf } from '../models/lora.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import type { Prompt } from '../rollout/engine.js';
import type { Params } from '../tensor/params.js';
import type { Setting } from './condition.js';
import type { GradientSpace } from './gradientSpace.js';
import type { Measurement } from './measure.js';

/*
 * A measurement that can be interrupted: a directory with
 *
 *   setting.json          what is measured, and on what: another call must ask for the same
 *   measurements.jsonl    one line for each finished estimator, with the scalar products of its gradients
 */

const gram = z.array(z.array(z.number()).transform((row) => Float64Array.from(row)));
const count = z.number().min(0);
const measurementSchema = z.strictObject({
  name: z.string(),
  own: gram,
  cross: gram,
  effective_sample_size: z.number(),
  cost: z.strictObject({
    sampling_s: count,
    gradient_s: count,
    student_tokens: count,
    teacher_tokens: count,
    response_tokens: count,
    computation: count,
  }),
});

/** All that measurements depend on: another call into the same directory must ask for the same. */
export function describeSetting(
  { models, prompts, warmupPrompts, ...numbers }: Setting,
  space: GradientSpace,
  base: ObjectiveConfig,
): Record<string, unknown> {
  return {
    format: 1,
    student_weights: weightsHash(weightsOf(models.student)),
    teacher_weights: weightsHash(weightsOf(models.teachers[0]!)),
    prompts: [...new Set(prompts.map(promptsHash))],
    repeats: prompts.length,
    warmup_prompts: promptsHash(warmupPrompts),
    ...numbers,
    scalar_products: [space.kind, space.dimensions],
    objective: base,
  };
}

/** What was measured into a directory before; creates it where there is none. */
export async function openStore(
  directory: string,
  setting: Readonly<Record<string, unknown>>,
  repeats: number,
): Promise<Measurement[]> {
  await mkdir(directory, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(
      `${directory}: cannot be used for results (${error.code}); give --out another directory`,
    );
  });
  const file = join(directory, 'setting.json');
  const before = await readFile(file, 'utf8').catch(() => undefined);
  const now = JSON.stringify(setting, null, 2);
  if (before === undefined) {
    await writeAtomically(file, `${now}\n`);
    return [];
  }
  checkSame(parse(before, file), JSON.parse(now) as Record<string, unknown>, file);
  return readMeasurements(join(directory, 'measurements.jsonl'), repeats);
}

function checkSame(before: unknown, now: Record<string, unknown>, file: string): void {
  const old = (typeof before === 'object' && before !== null ? before : {}) as Record<string, unknown>;
  for (const key of Object.keys(now)) {
    const [was, is] = [JSON.stringify(old[key]), JSON.stringify(now[key])];
    if (was !== is) {
      throw new UsageError(
        `${file}: ${key} was ${brief(was)} and is ${brief(is)}; measure into another directory, or as before`,
      );
    }
  }
}

function brief(json: string | undefined): string {
  return json === undefined ? 'absent' : json.length > 200 ? `${json.slice(0, 200)}…` : json;
}

/** The complete lines; one that a kill tore off is cut from the file. */
async function readMeasurements(file: string, repeats: number): Promise<Measurement[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  if (whole.length < text.length) await truncate(file, Buffer.byteLength(whole));
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line, i) => {
      const where = `${file}:${i + 1}`;
      const parsed = measurementSchema.safeParse(parse(line, where));
      const issue = parsed.error?.issues[0];
      if (!parsed.success) throw new UsageError(`${where}: ${issue!.path.join('.')}: ${issue!.message}`);
      for (const matrix of [parsed.data.own, parsed.data.cross]) {
        if (matrix.length !== repeats || matrix.some((row) => row.length !== repeats))
          throw new UsageError(`${where}: expected ${repeats} by ${repeats} scalar products`);
      }
      return parsed.data;
    });
}

export async function appendMeasurement(directory: string, measurement: Measurement): Promise<void> {
  const { own, cross, ...rest } = measurement;
  const rows = (matrix: Measurement['own']): number[][] => matrix.map((row) => Array.from(row));
  const line = `${JSON.stringify({ ...rest, own: rows(own), cross: rows(cross) })}\n`;
  const file = join(directory, 'measurements.jsonl');
  await appendFile(file, line);
  syncFile(file);
}

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`${where}: not valid JSON; delete the directory and measure again`);
  }
}

function promptsHash(prompts: readonly Prompt[]): string {
  const hash = createHash('sha256');
  for (const { ids } of prompts) hash.update(`${Array.from(ids).join()};`);
  return hash.digest('hex').slice(0, 16);
}

/** SHA-256 of all weights, to know a model again whatever its directory is called. */
function weightsHash(params: Params): string {
  const hash = createHash('sha256');
  for (const name of Object.keys(params).sort()) {
    const data = params[name]!.dataSync<'float32'>();
    hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex').slice(0, 16);
}
