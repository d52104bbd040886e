import { join } from 'node:path';
import type { Example } from '../data/examples.js';
import { jsonlText } from '../data/jsonl.js';
import type { Generation } from '../evaluation/generations.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { tokenTexts } from '../text/tokenTexts.js';
import { writeFileAtomic } from './atomic.js';
import { runPaths } from './runDirectory.js';

/** Rows kept of a set of samples: enough to read, small enough to put into a page. */
const MOST = 60;

/**
 * Writes `samples/<name>.jsonl`, one row a response: the prompt, the first reference, the text, its tokens with the
 * log-probabilities of student and teacher, and whether it ended by itself. The tokens put together are the text (with its
 * special tokens, and the space that it begins with); see `tokenTexts`. The report reads these.
 */
export async function writeSamples(
  runDir: string,
  name: string,
  samples: readonly Generation[],
  examples: readonly Example[],
  tokenizer: Tokenizer,
): Promise<void> {
  const rows = samples.slice(0, MOST).map((t) => ({
    index: t.promptIndex,
    prompt: examples[t.promptIndex]!.prompt,
    reference: examples[t.promptIndex]!.outputs[0] ?? '',
    text: tokenizer.decode(t.responseIds, { skipSpecial: true }),
    tokens: tokenTexts(tokenizer, t.responseIds, t.promptIds),
    logprobs: Array.from(t.studentLogprobs),
    ...(t.teacherLogprobs && { teacher_logprobs: Array.from(t.teacherLogprobs) }),
    finished: t.finished,
  }));
  await writeFileAtomic(join(runPaths(runDir).samples, `${name}.jsonl`), jsonlText(rows));
}
