import { stat } from 'node:fs/promises';
import { corpusChunks } from '../data/corpus.js';
import { loadExamples } from '../data/examples.js';
import { UsageError } from '../errors.js';
import { tokenizerDirectory } from '../models/adapter.js';
import { inspectModel } from '../models/checkpoint.js';
import type { ModelConfig } from '../models/config.js';
import type { ModelDtype } from '../models/dtypes.js';
import { familyOf } from '../models/families.js';
import type { Sequence } from '../models/packed.js';
import {
  assertSameTokenizer,
  checkContext,
  checkRound,
  checkTokenizer,
  dataFiles,
  exampleLimits,
  newStudentConfig,
  readsCorpus,
} from '../runs/materials.js';
import { checkDtype, isBaseOf, studentConfig } from '../runs/students.js';
import { loadTokenizer, type Tokenizer, tokenizerIfPresent } from '../text/tokenizer.js';
import { withoutBos } from '../text/withoutBos.js';
import type { TrainConfig } from '../training/config.js';
import { placeOfTeacher } from '../training/configParts.js';
import { withSteps } from '../training/epochs.js';
import { type ModelSize, modelSize } from './flops.js';
import { lengths } from './passes.js';

export interface PlannedModel {
  role: 'student' | 'teacher';
  source: string;
  config: ModelConfig;
  size: ModelSize;
  /** How the weights are kept; default float32. */
  dtype?: ModelDtype;
  /** A teacher that is the base of the student's adapters: its weights are in memory with the student's. */
  shared?: boolean;
  /** `new`: drawn when the run begins; `absent`: only config.json is there. */
  weights: 'there' | 'absent' | 'new';
}

export interface PlannedData {
  /** Why tokens are bounds and no counts; absent where they were counted. */
  bounds?: string;
  /** null: not known. */
  trainRows: number | null;
  dropped: number | null;
  /** Training rows, or one that is as long as the limits allow. */
  train: readonly Sequence[];
  /** The validation rows that are used. */
  valid: readonly Sequence[];
  /** Pieces of plain text; null: not counted, 0: none. */
  pieces: number | null;
}

export interface PlanInputs {
  /** The student first. */
  models: PlannedModel[];
  /** URLs of teachers on other machines. */
  remote: string[];
  data: PlannedData;
  /** Whether there is plain text for a pretraining loss. */
  hasText: boolean;
}

/** Larger files take longer to tokenise than a plan should. */
const QUICK_ROWS = 64 << 20;
const QUICK_TEXT = 16 << 20;

/**
 * What a plan knows of a run: the shapes of its models, from config.json and the headers of the weights, and the lengths of its
 * rows. Makes the checks that training makes, as far as they need no weights.
 *
 * @param options.withoutData data files are not read and need not exist: tokens are then bounds
 * @throws UsageError in one line, as training does
 */
export async function planInputs(
  config: TrainConfig,
  options: { withoutData: boolean; log: (line: string) => void },
): Promise<PlanInputs> {
  const { student } = config;
  const own =
    typeof student === 'string'
      ? await tokenizerIfPresent(await tokenizerDirectory(student))
      : await loadTokenizer(student.tokenizer);
  const tokenizer = own && !config.data.bos ? withoutBos(own) : own;
  const models = [await studentOf(config, tokenizer)];
  const remote: string[] = [];
  for (const place of [config.teacher ?? []].flat().map(placeOfTeacher)) {
    if (typeof place !== 'string') {
      if ('url' in place) remote.push(place.url); // a cache costs next to nothing
    } else if (config.method !== 'sft') models.push(await teacherOf(place, config, models[0]!, tokenizer));
  }
  const hasText = readsCorpus(config) && (config.data.corpus ?? config.data.wordnet) !== undefined;
  for (const model of models) {
    if (tokenizer) checkTokenizer(model.config, tokenizer);
    checkContext(model.config, config, hasText);
  }
  const data = await planData(config, tokenizer, hasText, options);
  return { models, remote, data, hasText };
}

async function studentOf(
  { student, lora, student_dtype }: TrainConfig,
  tokenizer: Tokenizer | undefined,
): Promise<PlannedModel> {
  if (typeof student !== 'string') {
    const config = newStudentConfig(student, tokenizer!);
    return { role: 'student', source: 'new', config, size: modelSize(config), weights: 'new' };
  }
  await checkDtype(student, { lora, student_dtype });
  const found = await inspected(student);
  const config = studentConfig(found.config, student, lora);
  return { ...found, role: 'student', config, size: modelSize(config), ...kept(student_dtype) };
}

async function teacherOf(
  place: string,
  config: TrainConfig,
  student: PlannedModel,
  tokenizer: Tokenizer | undefined,
): Promise<PlannedModel> {
  const own = await tokenizerIfPresent(await tokenizerDirectory(place));
  if (own && tokenizer) assertSameTokenizer([student.source, tokenizer], [place, own]);
  const shared = await isBaseOf(student, student.source, place, config);
  return {
    role: 'teacher',
    ...(await inspected(place)),
    ...kept(config.teacher_dtype),
    ...(shared && { shared }),
  };
}

const kept = (dtype: ModelDtype | undefined): { dtype?: ModelDtype } => (dtype ? { dtype } : {});

async function inspected(source: string): Promise<Omit<PlannedModel, 'role'>> {
  const { config, weights } = await inspectModel(source);
  return { source, config, size: modelSize(config), weights: weights ? 'there' : 'absent' };
}

/** What a model's weights take in memory; of 16 bits are the matrices (models/loadTensor.ts). */
export function weightBytes({ config, dtype = 'float32', shared }: PlannedModel): number {
  if (shared) return 0;
  const specs = Object.values(familyOf(config).parameters(config));
  return specs.reduce((sum, { shape }) => {
    const [first, second] = shape as [number, number?];
    if (dtype === 'float32' || second === undefined) return sum + 4 * first * (second ?? 1);
    return sum + 4 * first * Math.ceil(second / 2);
  }, 0);
}

async function planData(
  config: TrainConfig,
  tokenizer: Tokenizer | undefined,
  hasText: boolean,
  { withoutData, log }: { withoutData: boolean; log: (line: string) => void },
): Promise<PlannedData> {
  if (withoutData) return boundsOf(config, hasText, '--without-data');
  if (!tokenizer) return boundsOf(config, hasText, `${config.student} has no tokenizer.json`);
  const files = await dataFiles(config, log);
  if ((await bytesOf(files.train)) > QUICK_ROWS)
    return boundsOf(config, hasText, `${files.train} is larger than ${QUICK_ROWS >> 20} MiB`);
  const train = await loadExamples(files.train, tokenizer, exampleLimits(config, 'training'));
  const valid = files.valid
    ? (await loadExamples(files.valid, tokenizer, exampleLimits(config, 'validation'))).examples
    : [];
  checkRound(config, train.examples.length);
  return {
    trainRows: train.examples.length,
    dropped: train.dropped,
    train: train.examples,
    valid: valid.slice(0, config.eval.prompts),
    pieces: hasText ? await piecesOf(files.corpus!, tokenizer, config.pretrain.length) : 0,
  };
}

/** Whether there are validation rows. */
function validates({ data }: TrainConfig): boolean {
  return (data.valid ?? data.wordnet) !== undefined;
}

/** The configuration with its epochs as steps. @throws UsageError where the rows are not counted */
export function plannedSteps(
  config: TrainConfig,
  { trainRows, bounds }: PlannedData,
  log: (line: string) => void,
): TrainConfig {
  const { epochs } = config.train;
  if (epochs !== undefined && trainRows === null)
    throw new UsageError(
      `train.epochs: ${epochs} epochs of how many rows is not known here (${bounds}); add --set train.steps=N`,
    );
  return withSteps(config, trainRows ?? 0, log);
}

/** One row as long as the limits allow stands for all. */
function boundsOf(config: TrainConfig, hasText: boolean, bounds: string): PlannedData {
  const { data } = config;
  const longest = lengths(data.max_prompt_tokens, data.max_tokens - data.max_prompt_tokens);
  return {
    bounds,
    trainRows: null,
    dropped: null,
    train: [longest],
    valid: validates(config) ? Array.from({ length: config.eval.prompts }, () => longest) : [],
    pieces: hasText ? null : 0,
  };
}

async function piecesOf(file: string, tokenizer: Tokenizer, length: number): Promise<number | null> {
  if ((await bytesOf(file)) > QUICK_TEXT) return null;
  return (await corpusChunks(file, tokenizer, length)).length;
}

async function bytesOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0, // reading it says what is wrong
  );
}
