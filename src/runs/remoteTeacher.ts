import type { ModelConfig } from '../models/config.js';
import type { Model } from '../models/model.js';
import { RemoteTeacher } from '../scoring/remoteTeacher.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { isPolicyGradient, type TrainConfig } from '../training/config.js';
import { placeOfTeacher, type RemoteTeacherConfig } from '../training/configParts.js';
import { objectiveOf } from '../training/minillm.js';

/** A teacher behind a server, as a model that can be asked for log-probabilities and for nothing else. */
export function connectTeacher(
  place: RemoteTeacherConfig,
  tokenizer: Tokenizer,
  student: ModelConfig,
  log: (line: string) => void,
): Model {
  const { api_key_env, top_k, batch_size, ...rest } = place;
  const options = { ...rest, apiKeyEnv: api_key_env, topK: top_k, batchSize: batch_size, log };
  const remote = new RemoteTeacher(options, tokenizer);
  log(`teacher at ${remote.shown}: ${remote.id}, ${remote.vocabSize} ids; it gives ${meaning[place.gives]}`);
  // A server that does not say how long a sequence may be is taken to have the student's context.
  const maxPositions = Math.min(remote.maxPositions, student.maxPositions);
  return {
    config: { ...student, vocabSize: remote.vocabSize, maxPositions, hf: {} },
    params: {},
    remote,
  };
}

const meaning = {
  full: 'whole distributions',
  top_k: 'its most likely tokens; all others are one bucket of the forward KL',
  sampled:
    'the log-probability of the sampled token only; no single-step term, and reverse_kl in the log is the one-sample estimate',
};

/** Refuses what a remote teacher cannot do, naming the field that mends it. */
export function checkRemoteTeacher(config: TrainConfig, fail: (line: string) => never): void {
  if (config.method === 'sft') return;
  for (const place of [config.teacher ?? []].flat().map(placeOfTeacher)) {
    if (typeof place !== 'string' && 'url' in place) checkOne(place, config, fail);
  }
}

function checkOne({ gives }: RemoteTeacherConfig, config: TrainConfig, fail: (line: string) => never): void {
  const { method } = config;
  if (method === 'seqkd' || (method === 'gkd' && config.gkd.seq_kd))
    fail(`teacher: ${method} lets the teacher write, and a remote teacher only scores; use a directory`);
  if (gives === 'top_k' && method !== 'kd')
    fail(`teacher.gives: top_k serves kd only (forward KL with a tail bucket); ${method} needs full`);
  if (gives === 'top_k' && config.train.kd_temperature !== 1)
    fail(
      `train.kd_temperature: ${config.train.kd_temperature} softens a whole distribution, and teacher.gives is top_k; set gives: full, or the temperature to 1`,
    );
  if (gives === 'sampled' && !isPolicyGradient(method))
    fail(`teacher.gives: sampled serves opd, and minillm without single_step; ${method} needs full`);
  if (!isPolicyGradient(method)) return;
  const objective = objectiveOf({ config });
  if (objective.alpha !== 0)
    fail(
      `objective.alpha: ${objective.alpha} mixes the teacher into every decoding step, which a remote teacher cannot do; set objective.alpha: 0`,
    );
  if (gives !== 'sampled') return;
  const lacks = 'needs whole distributions and teacher.gives is sampled';
  if (objective.single_step)
    fail(`objective.single_step: ${lacks}; use method: opd, or set objective.single_step: false`);
  if (objective.returns !== 'sampled')
    fail(`objective.returns: ${objective.returns} ${lacks}; set objective.returns: sampled`);
  const corpus = config.data.corpus !== undefined || config.data.wordnet !== undefined;
  const asked = config.pretrain.teacher_cache === undefined;
  if (corpus && asked && objective.lm_coef !== 0 && objective.kd_ratio !== 0)
    fail(
      `objective.kd_ratio: the pretraining loss ${lacks}; set objective.kd_ratio: 0, or give pretrain.teacher_cache`,
    );
}
