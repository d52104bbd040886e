import { type Bpe, PreTokenCounts, trainBpe } from '../text/bpe.js';
import { formatPrompt, type TemplateName } from '../text/template.js';
import { endOfText } from '../text/tokenizer-files.js';
import { holdsRows, readRows, textOf } from './rows.js';

/**
 * Trains a byte-level BPE on files. Of rows (JSONL or a JSON array, told by content) every string field counts; with a template, a row that has an
 * instruction counts as prompt and output instead, so that the template's own words get tokens as well.
 *
 * @throws UsageError for a file that cannot be read, that is not UTF-8 or JSONL, or without any text
 */
export async function trainTokenizer(
  files: string[],
  vocabSize: number,
  template?: TemplateName,
): Promise<Bpe> {
  const words = new PreTokenCounts();
  for (const file of files) {
    if (await holdsRows(file)) {
      for await (const { value } of readRows(file))
        for (const text of rowTexts(value, template)) words.add(text);
    } else {
      words.add(await textOf(file));
    }
  }
  return trainBpe(words.counts, vocabSize, [endOfText]);
}

function rowTexts(row: Record<string, unknown>, template: TemplateName | undefined): string[] {
  const { instruction, input, output } = row;
  if (template === undefined || typeof instruction !== 'string')
    return Object.values(row).filter((value) => typeof value === 'string');
  const prompt = formatPrompt({ instruction, ...(typeof input === 'string' && { input }) }, template);
  return [typeof output === 'string' ? prompt + output : prompt];
}
