import { loadModel } from '../models/checkpoint.js';
import type { Model } from '../models/model.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { placeOfTeacher } from '../training/configParts.js';
import { foreignEnds, withEndTokens } from './endTokens.js';
import { type CacheUser, openTeacherCache } from './openTeacherCache.js';
import { connectTeacher } from './remoteTeacher.js';
import { baseAsTeacher, isBaseOf } from './students.js';

/** What a teacher has to fit: the run as its cache sees it, and the student with its weights. */
export interface TeacherUser extends Omit<CacheUser, 'kind' | 'vocabulary' | 'student'> {
  student: Model;
  /** The student's tokenizer as it is, whatever `data.bos` says. */
  ownTokenizer: Tokenizer;
}

/**
 * One teacher of a configuration: behind a server, in a cache, or here.
 *
 * @param tokenizer of its directory
 * @throws UsageError in one line if it cannot be read or does not fit
 */
export async function openTeacher(
  place: ReturnType<typeof placeOfTeacher>,
  { student, ownTokenizer, ...run }: TeacherUser,
  tokenizer: Tokenizer | undefined,
): Promise<Model> {
  if (typeof place === 'string') return openLocal(place, student, run, tokenizer);
  if ('url' in place) return connectTeacher(place, ownTokenizer, student.config, run.log);
  const { config } = student;
  return openTeacherCache(place.cache, {
    ...run,
    kind: 'gold',
    student: config,
    vocabulary: config.vocabSize,
  });
}

async function openLocal(
  directory: string,
  student: Model,
  { config, tokenizer: ofRun, log }: Pick<TeacherUser, 'config' | 'tokenizer' | 'log'>,
  tokenizer: Tokenizer | undefined,
): Promise<Model> {
  const shared =
    typeof config.student === 'string' && (await isBaseOf(student, config.student, directory, config));
  if (shared) log(`teacher ${directory} is the base of the student: its weights are in memory once`);
  const loaded = shared
    ? await baseAsTeacher(student, directory)
    : await loadModel(directory, { dtype: config.teacher_dtype });
  const teacher = withEndTokens(loaded, { directory, tokenizer }, log);
  const foreign = foreignEnds(student, teacher, directory, ofRun.eosId);
  if (foreign) log(foreign);
  return teacher;
}
