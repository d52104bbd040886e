import { Command } from 'commander';
import { UsageError } from '../../errors.js';
import type { ModelDtype } from '../../models/dtypes.js';
import type { Model } from '../../models/model.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import {
  type AdapterOption,
  type CommonOptions,
  dtypeOption,
  logger,
  positiveInteger,
  print,
  startBackend,
  withAdapterOption,
  withCommonOptions,
} from '../common.js';
import { type ShardOptions, shardsOf, withShardOptions } from '../ranks.js';

interface ScoreCommandOptions extends CommonOptions, AdapterOption, ShardOptions {
  model: string;
  dtype?: ModelDtype;
  input: string;
  batchSize: number;
  bos: boolean;
}

/** Rows scored between two lines of output: enough to find rows of similar length, few enough to see progress. */
const WINDOW = 256;

export function scoreCommand(): Command {
  const command = new Command('score')
    .description('log-probabilities of given tokens, as JSONL in the order of the input')
    .requiredOption('--model <dir>', 'Hugging Face model directory')
    .addOption(dtypeOption('--dtype', "the model's"))
    .requiredOption('--input <file>', 'JSONL or JSON rows {"ids":[…]} or {"prompt":"…","response":"…"}')
    .option('--batch-size <b>', 'sequences read together; no result depends on it', positiveInteger, 32)
    .option('--no-bos', 'no beginning token in front of a prompt, as trained with data.bos: false')
    .addHelpText(
      'after',
      `
Each line is {"ids":[…],"logprobs":[…]} with logprobs[i] = ln p(ids[i+1] | ids[0..i]), in nats.
Rows of ids may carry "attention_mask": padding on the left or right is kept out, its logprobs are null.
A prompt and its response are encoded together, followed by the end token. Rows of ids need no tokenizer.

Example:
  minillm score --model runs/smoke/final --input rows.jsonl > scores.jsonl
`,
    );
  withAdapterOption(command);
  return withCommonOptions(withShardOptions(command)).action(async (options: ScoreCommandOptions) => {
    const log = logger(options);
    const rows = await readInput(options.input);
    const { engine } = await startBackend(options, log);
    const { loadModel } = await import('../../models/checkpoint.js');
    const { disposeModel } = await import('../../models/model.js');
    const { scoreTokens } = await import('../../scoring/score.js');
    const model = await loadModel(options.model, options);
    const sequences = await toSequences(rows, model, options.model, options.bos);
    const { whole } = await import('../../pieces.js');
    const files = { '--model': options.model, '--adapter': options.adapter, '--input': options.input };
    const shards = await shardsOf(options, engine, files, log);
    for (let start = 0; start < sequences.length; start += WINDOW) {
      const window = sequences.slice(start, start + WINDOW);
      const scores = whole(
        shards.map(
          window.map(({ sequence }) => sequence),
          function* (own) {
            yield;
            return scoreTokens(model, own, { batchSize: options.batchSize });
          },
        ),
      );
      window.forEach(({ row, from }, i) => {
        const logprobs = new Array<number | null>(Math.max(0, row.length - 1)).fill(null);
        scores[i]!.forEach((logprob, t) => {
          logprobs[from + t] = shortest(logprob);
        });
        print(JSON.stringify({ ids: Array.from(row), logprobs }));
      });
      log(`${start + window.length}/${sequences.length} rows`);
    }
    disposeModel(model);
  });
}

/** A row as the file gives it. */
type Row = { where: string } & (
  | { ids: Int32Array; span: [number, number] }
  | { prompt: string; response: string }
);

/** A sequence to score and where it stands in the row that asked: padding of a row is kept out and comes back as null. */
interface Scored {
  row: Int32Array;
  from: number;
  sequence: Int32Array;
}

/** Every row is checked before the first is scored, so that a bad file gives no half answer. */
async function readInput(file: string): Promise<Row[]> {
  const { readRows } = await import('../../data/rows.js');
  const { tokenSpan } = await import('../../data/padding.js');
  const rows: Row[] = [];
  for await (const { where, value } of readRows(file)) {
    const { ids, prompt, response } = value;
    if (ids !== undefined) {
      if (!Array.isArray(ids) || !ids.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31)) {
        throw new UsageError(`${where}: ids must be a list of token ids (whole numbers from 0)`);
      }
      const span = tokenSpan(value.attention_mask, ids.length, where);
      rows.push({ where, ids: Int32Array.from(ids as number[]), span });
    } else if (typeof prompt === 'string' && typeof response === 'string') {
      rows.push({ where, prompt, response });
    } else {
      throw new UsageError(`${where}: expected {"ids":[…]} or {"prompt":"…","response":"…"}`);
    }
  }
  if (rows.length === 0) throw new UsageError(`${file}: no rows to score`);
  return rows;
}

async function toSequences(
  rows: readonly Row[],
  model: Model,
  directory: string,
  bos: boolean,
): Promise<Scored[]> {
  const { checkSequence } = await import('../../scoring/score.js');
  const { encodeExample } = await import('../../text/encode.js');
  let tokenizer: Tokenizer | undefined;
  const sequences: Scored[] = [];
  for (const row of rows) {
    let scored: Scored;
    if ('ids' in row) scored = { row: row.ids, from: row.span[0], sequence: row.ids.slice(...row.span) };
    else {
      if (!tokenizer) {
        const own = await (await import('../../text/tokenizer.js')).loadTokenizer(
          await (await import('../../models/adapter.js')).tokenizerDirectory(directory),
        );
        tokenizer = bos ? own : (await import('../../text/withoutBos.js')).withoutBos(own);
        (await import('../../runs/materials.js')).checkTokenizer(model.config, tokenizer);
      }
      const { promptIds, responseIds } = encodeExample(tokenizer, row.prompt, row.response);
      const ids = Int32Array.from([...promptIds, ...responseIds]);
      scored = { row: ids, from: 0, sequence: ids };
    }
    checkSequence(model, scored.sequence, row.where);
    sequences.push(scored);
  }
  return sequences;
}

/** Nine digits name a 32-bit float exactly; the double that holds it would print seventeen. */
function shortest(x: number): number {
  return Number(x.toPrecision(9));
}
