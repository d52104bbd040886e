/**
 * What the oracle says of the language before anything is trained: `node experiments/what-pays/consequence/oracle.ts DIR OUT.json`, DIR as
 * make.ts wrote it, with an SFT student in DIR/sft/best and one trained on by the single step alone in DIR/single/final. Of the exact gradient of the reverse KL in the student's parameters: how much of it
 * the single step is, how noisy the whole one is by sampling, and from how many rollouts on it is the better of the two.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { loadModel } from '../../../src/models/checkpoint.js';
import { disposeModel } from '../../../src/models/model.js';
import { type ObjectiveConfig, presets } from '../../../src/objectives/presets.js';
import { enumerate } from '../../../src/oracle/enumeration.js';
import { judgeOf } from '../../../src/oracle/estimator.js';
import { reverseKlExact } from '../../../src/oracle/exact.js';
import { pairOf } from '../../../src/oracle/network/pair.js';
import { compare } from '../../../src/oracle/oracle.js';
import { dot } from '../../../src/oracle/space.js';
import { initBackend } from '../../../src/tensor/backend.js';
import { loadTokenizer } from '../../../src/text/tokenizer.js';

/** An estimator: its bias and variance, and what its noise comes to beside its bias. */
export interface Judged {
  relative_bias: number;
  cosine: number;
  /** Trace of the covariance of one rollout's gradient, over the squared norm of the exact one. */
  relative_variance: number;
}

export interface Prediction {
  kl: number;
  single: Judged;
  future: Judged;
  sampled: Judged;
  /** N with relative_variance(future)/N = relative_bias(single)² + relative_variance(single)/N: from here on the future terms pay. */
  rollouts_from_which_future_pays: number;
}

const plain: ObjectiveConfig = { ...presets.minillm, alpha: 0, length_norm: 'off', cliprange: 0, lm_coef: 0 };
const estimators: Record<'single' | 'future' | 'sampled', ObjectiveConfig> = {
  single: { ...plain, returns: 'none' },
  future: plain,
  sampled: { ...plain, returns: 'sampled' },
};

/** @param directory what make.ts wrote for a length that can be enumerated, and its SFT student */
export async function predict(
  directory: string,
  place: string,
  length: number,
  keys: number,
): Promise<Prediction> {
  const [student, teacher] = [
    await loadModel(join(directory, place)),
    await loadModel(join(directory, 'teacher')),
  ];
  const tokenizer = await loadTokenizer(join(directory, 'teacher'));
  const prompts = Array.from({ length: keys }, (_, k) => tokenizer.encode(`k${k + 1}\nAnswer:\n`));
  const problem = { horizon: length, eos: tokenizer.eosId, alpha: 0, prompts };
  const { world, jacobians } = pairOf(student, teacher, problem, directory);
  disposeModel(student);
  disposeModel(teacher);
  const enumeration = enumerate(world, jacobians);
  const exact = reverseKlExact(world);
  const gradient = enumeration.space.pull(exact.gradient);
  const square = dot(gradient, gradient);
  const judge = judgeOf(enumeration);
  const judged = (config: ObjectiveConfig): Judged => {
    const { expectation, variance } = judge.moments(config)!;
    return { ...compare(expectation, gradient), relative_variance: variance / square };
  };
  const [single, future, sampled] = [
    judged(estimators.single),
    judged(estimators.future),
    judged(estimators.sampled),
  ];
  const pays = (future.relative_variance - single.relative_variance) / single.relative_bias ** 2;
  return { kl: exact.value, single, future, sampled, rollouts_from_which_future_pays: pays };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [directory, out] = process.argv.slice(2) as [string, string];
  await initBackend({ backend: 'cpu' });
  // Where supervised learning ends, and where the single step alone ends.
  const found: Record<string, Prediction> = {};
  for (const place of ['sft/best', 'single/final']) found[place] = await predict(directory, place, 4, 2);
  writeFileSync(out, `${JSON.stringify(found, null, 2)}\n`);
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
