import { realpathSync } from 'node:fs';
import { UsageError } from '../errors.js';
import { baseSource, isAdapter, placesOf } from '../models/adapter.js';
import { loadConfig, loadModel } from '../models/checkpoint.js';
import type { ModelConfig } from '../models/config.js';
import { addLora, baseConfig, trainedParameters, withLora } from '../models/lora.js';
import type { BaseSource, LoraOptions } from '../models/loraTargets.js';
import { countOf, disposeModel, type Model, parameterCount } from '../models/model.js';
import { modelDigest } from '../models/modelDigest.js';
import type { TrainConfig } from '../training/config.js';
import type { LoraConfig } from '../training/configParts.js';

/**
 * Loads a student directory as the configuration wants it trained: whole, or with new adapters on it. A directory that holds an
 * adapter is trained on where it left off.
 *
 * @throws UsageError if adapters do not fit the model, or weights of 16 bits are to train
 */
export async function loadStudent(
  directory: string,
  { lora, seed, student_dtype: dtype }: Pick<TrainConfig, 'lora' | 'seed' | 'student_dtype'>,
  log: (line: string) => void,
): Promise<Model> {
  await checkDtype(directory, { lora, student_dtype: dtype });
  const loaded = await loadModel(directory, { dtype });
  try {
    if (!lora && !loaded.base) return loaded;
    const student = lora ? await adapted(loaded, directory, lora, seed) : loaded;
    log(loraLine(student.config));
    return student;
  } catch (error) {
    disposeModel(loaded);
    throw error;
  }
}

/** @throws UsageError where weights of 16 bits would have to train */
export async function checkDtype(
  directory: string,
  { lora, student_dtype: dtype = 'float32' }: Pick<TrainConfig, 'lora' | 'student_dtype'>,
): Promise<void> {
  if (dtype !== 'float32' && !lora && !(await isAdapter(directory)))
    throw new UsageError(
      `student_dtype: ${dtype} weights do not train, and all of ${directory} do; use float32, or train adapters (lora)`,
    );
}

async function adapted(model: Model, directory: string, lora: LoraConfig, seed: number): Promise<Model> {
  refuseTwice(model.config, directory);
  const source: BaseSource = { ...baseSource(directory), digest: await modelDigest(directory) };
  return addLora(model, loraOptions(lora), source, seed);
}

/** The configuration of the student that a run trains, from that of its directory. @throws UsageError as `loadStudent` */
export function studentConfig(
  config: ModelConfig,
  directory: string,
  lora: LoraConfig | undefined,
): ModelConfig {
  if (!lora) return config;
  refuseTwice(config, directory);
  return withLora(config, loraOptions(lora), baseSource(directory));
}

function refuseTwice({ lora }: ModelConfig, directory: string): void {
  if (lora)
    throw new UsageError(
      `lora: ${directory} holds an adapter already; leave lora out to train that one on, or merge it first (minillm export --merge)`,
    );
}

function loraOptions({ rank, alpha, targets, modules_to_save, rslora }: LoraConfig): LoraOptions {
  return {
    rank,
    alpha,
    targets: targets === 'all-linear' ? targets : [targets].flat(),
    modulesToSave: modules_to_save,
    rslora,
  };
}

function loraLine(config: ModelConfig): string {
  const trained = countOf(trainedParameters(config));
  const { maps, saved } = config.lora!;
  const whole = saved.length > 0 ? ` and ${saved.length} whole parameters` : '';
  return `lora: adapters of ${Object.keys(maps).length} maps${whole}: ${trained} values train, ${parameterCount(baseConfig(config))} are the base`;
}

/** Whether a teacher is the very base of the student's adapters, kept in the same way: then its weights are in memory already. */
export async function isBaseOf(
  student: Pick<Model, 'config'>,
  directory: string,
  teacher: string,
  {
    student_dtype = 'float32',
    teacher_dtype = student_dtype,
  }: Pick<TrainConfig, 'student_dtype' | 'teacher_dtype'>,
): Promise<boolean> {
  if (!student.config.lora || student_dtype !== teacher_dtype) return false;
  const { base } = await placesOf(directory, {});
  return realpathSync(base) === realpathSync(teacher);
}

/** The student with its adapters off, as a teacher of its own. Nothing is copied. */
export async function baseAsTeacher({ base }: Model, teacher: string): Promise<Model> {
  return { config: await loadConfig(teacher), params: base! };
}
