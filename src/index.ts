/**
 * minillm-rl as a library: what the command line is made of. Await `initBackend` before anything that makes tensors.
 * @module
 */
export type { Cluster, Exchange } from './cluster/cluster.js';
export { joinCluster } from './cluster/launched.js';
export { Shards } from './cluster/shards.js';
export {
  type Example,
  type ExampleLimits,
  type Examples,
  type LoadedExamples,
  loadExamples,
  type SpecialTokens,
  specialTokenUses,
} from './data/examples.js';
export { openExamples } from './data/storedExamples.js';
export { RunError, UsageError } from './errors.js';
export type { Curves, ExposureCurve } from './evaluation/curves.js';
export { type EvaluateOptions, type Evaluation, evaluate } from './evaluation/evaluate.js';
export { type MetricName, metricNames } from './evaluation/evaluationMetrics.js';
export type { Generation, GenerationRequest, GenerationStore } from './evaluation/generations.js';
export type { CalibrationBin } from './evaluation/metrics/calibration.js';
export type { Distribution } from './evaluation/metrics/distribution.js';
export type { Summary } from './evaluation/metrics/statistics.js';
export { type LoadOptions, loadConfig, loadModel, saveModel } from './models/checkpoint.js';
export type { Lora, ModelConfig, NewModel } from './models/config.js';
export { type ModelDtype, modelDtypes } from './models/dtypes.js';
export { gpt2Config, llamaConfig } from './models/families.js';
export { fromPretrained } from './models/fromPretrained.js';
export { type HubOptions, resolveModel } from './models/hub.js';
export { addLora, mergeAdapter, weightsOf, withoutAdapter } from './models/lora.js';
export type { BaseSource, LoraOptions } from './models/loraTargets.js';
export {
  disposeModel,
  forwardHidden,
  headLogits,
  initModel,
  type Model,
  parameterCount,
  type RemoteModel,
} from './models/model.js';
export type { RopeScaling } from './models/rope.js';
export type { Sequence } from './models/sequence.js';
export { advantages, type SampledBatch, type TokenSignals } from './objectives/advantages.js';
export { aggregate, type BatchTotals, batchTotals, tokenCoefficients } from './objectives/aggregate.js';
export { type BabyllamaOptions, babyllamaLoss } from './objectives/babyllama.js';
export { type Baseline, type BaselineName, baselines } from './objectives/baselines.js';
export type { BaselineBatch, EmaState } from './objectives/batchStatistics.js';
export { type DivergenceName, divergences } from './objectives/divergences.js';
export { entropyBonus } from './objectives/entropyBonus.js';
export { type ImportanceWeights, importances } from './objectives/importance.js';
export { type KdLoss, kdLoss } from './objectives/kd.js';
export { type MinillmLoss, type MinillmLossInputs, minillmLoss } from './objectives/minillmLoss.js';
export { type ObjectiveConfig, objectiveSchema, presets, resolveObjective } from './objectives/presets.js';
export { flatten, type Ragged } from './objectives/ragged.js';
export {
  type KdScale,
  type KdScaleName,
  kdScales,
  type Softening,
  softened,
} from './objectives/softening.js';
export { type ClipRange, type Ratio, type RatioName, ratios } from './objectives/surrogate.js';
export type { TaskReward } from './objectives/taskRewards.js';
export type { AdamState } from './optim/adam.js';
export { type AdamWOptions, adamw, type Optimizer, type OptimizerState } from './optim/adamw.js';
export type { ClipState } from './optim/clip.js';
export type { DecayMask, LearningRateState } from './optim/links.js';
export { type Schedule, type ScheduleOptions, schedules } from './optim/schedules.js';
export type { CostModel } from './oracle/cost.js';
export type { GridParameters } from './oracle/grid.js';
export {
  type EstimatorRow,
  type GradientEntry,
  type OracleOptions,
  type OracleResult,
  runOracle,
} from './oracle/oracle.js';
export type { State, World } from './oracle/world.js';
export { type Pieces, whole } from './pieces.js';
export { type Rng, stream } from './random/streams.js';
export { type WrittenReport, writeReport } from './report/report.js';
export { type Prompt, type RolloutOptions, rollout } from './rollout/engine.js';
export type { NextToken } from './rollout/options.js';
export { plainSampling, type SamplingOptions } from './rollout/sampling.js';
export type { Trajectory } from './rollout/trajectory.js';
export { type CacheOptions, type CacheSummary, cacheTeacher } from './runs/cacheTeacher.js';
export type { Keep } from './runs/keep.js';
export type { GivenReward } from './runs/rewards.js';
export { type ConfigLayer, readTrainConfig, trainConfigFrom } from './runs/runConfig.js';
export type { RunHooks, TrainRunOptions } from './runs/runOptions.js';
export { runTraining, type TrainSummary } from './runs/train.js';
export type { EvaluationRecord } from './runs/validation.js';
export { logitsAtResponses } from './scoring/logitsAtResponses.js';
export { type PaddedBatch, scorePadded } from './scoring/padded.js';
export { type ScoreOptions, scoreTokens } from './scoring/score.js';
export {
  type BackendInfo,
  type BackendName,
  backendNames,
  initBackend,
  type Precision,
  precisions,
} from './tensor/backend.js';
export { disposeParams, type Params, valueAndGrads } from './tensor/params.js';
export type { Chat, ChatMessage, ChatOptions } from './text/chat.js';
export { encodeExample } from './text/encode.js';
export type { SpecialText } from './text/specialText.js';
export { formatPrompt, type Request, type TemplateName, templates } from './text/template.js';
export { type EncodeOptions, loadTokenizer, type Tokenizer } from './text/tokenizer.js';
export { type TrainConfig, type TrainConfigInput, trainConfigSchema } from './training/config.js';
export { type Inspection, inspectStep } from './training/inspect.js';
export type { StepRecord } from './training/loop.js';
export { lossConstants, sampledBatch } from './training/policyBatches.js';
export { type Rescored, rescore, type SampledResponse } from './training/rescore.js';
export type { RewardBatch, RewardFunction } from './training/rewardSource.js';
export type { Models } from './training/supervised.js';
