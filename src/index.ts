/**
 * minillm-rl as a library: what the command line is made of. Await `initBackend` before anything that makes tensors.
 * @module
 */
export { type Example, type ExampleLimits, loadExamples } from './data/examples.js';
export { RunError, UsageError } from './errors.js';
export { type Evaluation, evaluate } from './evaluation/evaluate.js';
export { type MetricName, metricNames } from './evaluation/evaluationMetrics.js';
export { loadConfig, loadModel, saveModel } from './models/checkpoint.js';
export type { ModelConfig } from './models/config.js';
export { gpt2Config, llamaConfig } from './models/families.js';
export { fromPretrained, type HubOptions, resolveModel } from './models/hub.js';
export { forwardHidden, headLogits, initModel, type Model, parameterCount } from './models/model.js';
export { advantages, type SampledBatch, type TokenSignals } from './objectives/advantages.js';
export { babyllamaLoss } from './objectives/babyllama.js';
export { baselines } from './objectives/baselines.js';
export type { BaselineBatch } from './objectives/batchStatistics.js';
export { type DivergenceName, divergences } from './objectives/divergences.js';
export { importances } from './objectives/importance.js';
export { kdLoss } from './objectives/kd.js';
export { minillmLoss } from './objectives/minillmLoss.js';
export { type ObjectiveConfig, presets, resolveObjective } from './objectives/presets.js';
export { adamw } from './optim/adamw.js';
export { schedules } from './optim/schedules.js';
export { runOracle } from './oracle/oracle.js';
export { stream } from './random/streams.js';
export { writeReport } from './report/report.js';
export { type Prompt, type RolloutOptions, rollout } from './rollout/engine.js';
export { plainSampling, type SamplingOptions } from './rollout/sampling.js';
export type { Trajectory } from './rollout/trajectory.js';
export { readTrainConfig } from './runs/runConfig.js';
export { runTraining } from './runs/train.js';
export { type PaddedBatch, scorePadded } from './scoring/padded.js';
export { scoreTokens } from './scoring/score.js';
export { initBackend } from './tensor/backend.js';
export { disposeParams, type Params, valueAndGrads } from './tensor/params.js';
export type { Chat, ChatMessage } from './text/chat.js';
export { encodeExample } from './text/encode.js';
export { formatPrompt, type TemplateName, templates } from './text/template.js';
export { loadTokenizer, type Tokenizer } from './text/tokenizer.js';
export type { TrainConfig } from './training/config.js';
export { type Inspection, inspectStep } from './training/inspect.js';
export { type Rescored, rescore, type SampledResponse } from './training/rescore.js';
