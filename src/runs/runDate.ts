import { readFile } from 'node:fs/promises';
import { tokenizerDirectory } from '../models/adapter.js';
import { today } from '../text/date.js';
import { loadTokenizer } from '../text/tokenizer.js';
import { type TrainConfig, trainConfigSchema } from '../training/config.js';
import { runPaths } from './runDirectory.js';
import { parseUntrustedYaml } from './yaml.js';

/**
 * The configuration with the day that the chat template writes, where it writes one: the day of the first start, which the run
 * directory keeps. Otherwise the same seed would give other prompts tomorrow, and a resumed run other ones than it began with.
 */
export async function withRunDate(
  config: TrainConfig,
  out: string,
  log: (line: string) => void,
): Promise<TrainConfig> {
  const { student, data } = config;
  if (data.template !== 'chat' || data.date !== undefined) return config;
  const { chat } = await loadTokenizer(
    typeof student === 'string' ? await tokenizerDirectory(student) : student.tokenizer,
  );
  if (!chat?.usesDate) return config;
  const date = (await dateOf(out)) ?? today();
  log(`note: the chat template writes the date: ${date} in this whole run (data.date)`);
  // Through the schema, so that the field stands where a configuration that names it has it.
  return trainConfigSchema.parse({ ...config, data: { ...data, date } });
}

/** The date of a run that is there already. */
async function dateOf(out: string): Promise<string | undefined> {
  const text = await readFile(runPaths(out).config, 'utf8').catch(() => '');
  try {
    return (parseUntrustedYaml(text) as { data?: { date?: string } } | null)?.data?.date;
  } catch {
    return undefined; // whoever opens the directory says what is wrong with it
  }
}
