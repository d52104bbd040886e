import { isPolicyGradient, type TrainConfig } from '../training/config.js';
import { cacheOf } from '../training/configParts.js';
import { objectiveOf } from '../training/minillm.js';

/** Methods that ask their teacher about gold responses only: all of it can be asked before. */
export const methodsOnGold = ['kd', 'reverse-kd', 'babyllama'] as const;

export function isOnGold(method: TrainConfig['method']): boolean {
  return (methodsOnGold as readonly string[]).includes(method);
}

/** Refuses what a teacher's cache cannot serve, naming the field that mends it. */
export function checkCachedTeacher(config: TrainConfig, fail: (line: string) => never): void {
  const { method, pretrain } = config;
  if (cacheOf(config.teacher) !== undefined && method !== 'sft' && !isOnGold(method)) {
    const text = isPolicyGradient(method) ? '; for its text part there is pretrain.teacher_cache' : '';
    fail(
      method === 'seqkd'
        ? 'teacher.cache: seqkd lets the teacher write, and a cache only holds what it said of gold responses; use a directory'
        : `teacher.cache: ${method} asks the teacher about responses that are sampled while it trains, which no cache holds; use a directory or a server${text}`,
    );
  }
  if (pretrain.teacher_cache === undefined || !isPolicyGradient(method)) return;
  if (!readsTeacherOnText(config))
    fail(
      'pretrain.teacher_cache: nothing asks the teacher about plain text here; give data.corpus and set objective.lm_coef and objective.kd_ratio above 0, or leave it out',
    );
}

/** Whether the pretraining loss has a teacher's share. */
export function readsTeacherOnText(config: TrainConfig): boolean {
  if (!isPolicyGradient(config.method) || !(config.data.corpus ?? config.data.wordnet)) return false;
  const { lm_coef, kd_ratio } = objectiveOf({ config });
  return lm_coef > 0 && kd_ratio > 0;
}

/** T that the method's divergence is taken at on gold responses, and the field that sets it. */
export function temperatureOf({ method, kd, train }: TrainConfig): { value: number; field: string } {
  return method === 'babyllama'
    ? { value: kd.temperature, field: 'kd.temperature' }
    : { value: train.kd_temperature, field: 'train.kd_temperature' };
}
