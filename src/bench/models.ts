import type { Shards } from '../cluster/shards.js';
import { UsageError } from '../errors.js';
import { loadModel } from '../models/checkpoint.js';
import { newModelConfig } from '../models/families.js';
import { addLora } from '../models/lora.js';
import { initModel, type Model } from '../models/model.js';

/** L,D,H,V of a GPT-2 with random weights: the time of a step does not depend on what the weights are. */
export interface Shape {
  layers: number;
  hiddenSize: number;
  heads: number;
  vocabSize: number;
}

export interface BenchModels {
  student: Model;
  teacher?: Model;
  /** How training shares out its rows; default: one shard, here. */
  shards?: Shards;
}

/** Where the models of a benchmark come from: directories, or shapes. */
export interface BenchSource {
  model?: string;
  teacher?: string;
  shape?: Shape;
  teacherShape?: Omit<Shape, 'vocabSize'>;
  /** The student trains adapters of this rank on all its linear maps, and nothing else. */
  lora?: number;
  /** Tokens that must fit into the context of a model of random weights. */
  positions: number;
}

/** @throws UsageError when directory and shape are mixed up, or the two models have different vocabularies */
export async function benchModels(source: BenchSource): Promise<BenchModels> {
  const { model, teacher, shape, teacherShape, positions } = source;
  if ((model === undefined) === (shape === undefined))
    throw new UsageError('bench needs one of --model DIR and --shape L,D,H,V');
  if (teacher !== undefined && teacherShape)
    throw new UsageError('bench takes one of --teacher DIR and --teacher-shape L,D,H');
  const whole = model !== undefined ? await loadModel(model) : randomModel(shape!, positions, 1);
  const student = source.lora === undefined ? whole : withAdapters(whole, source.lora);
  if (teacher !== undefined) return { student, teacher: await loadModel(teacher) };
  if (!teacherShape) return { student };
  const vocabSize = student.config.vocabSize;
  return { student, teacher: randomModel({ ...teacherShape, vocabSize }, positions, 2) };
}

function withAdapters(model: Model, rank: number): Model {
  const options = { rank, alpha: 2 * rank, targets: 'all-linear', modulesToSave: [], rslora: false } as const;
  return addLora(model, options, { name: 'bench' }, 1);
}

function randomModel(shape: Shape, positions: number, seed: number): Model {
  return initModel(newModelConfig('gpt2', { ...shape, maxPositions: Math.max(1024, positions) }), seed);
}
