import { Command, InvalidArgumentError, Option } from 'commander';
import type { Measurement } from '../../bench/measure.js';
import type { WorkloadName } from '../../bench/workloads.js';
import { UsageError } from '../../errors.js';
import {
  type CommonOptions,
  integerList,
  logger,
  nonNegativeInteger,
  numberBetween,
  positiveInteger,
  print,
  startBackend,
  withCommonOptions,
} from '../common.js';

interface BenchOptions extends CommonOptions {
  lora?: number;
  what: WorkloadName;
  model?: string;
  teacher?: string;
  shape?: number[];
  teacherShape?: number[];
  batch: number;
  promptLen: number;
  maxResponse: number;
  seq: number;
  minibatch: number;
  inner: number;
  ptLen: number;
  alpha: number;
  eos?: boolean;
  input?: string;
  gradientCheckpointing?: boolean;
  warmup: number;
  repeat: number;
  json?: boolean;
}

/** Written out: the workloads themselves would load TensorFlow.js for `--help`. */
export const workloadChoices = [
  'score',
  'generate',
  'sft',
  'round',
] as const satisfies readonly WorkloadName[];

export function benchCommand(): Command {
  const command = new Command('bench')
    .description('time fixed work on this machine: scoring, sampling, a training step, a MiniLLM round')
    .addOption(new Option('--what <name>', 'the work').choices(workloadChoices).makeOptionMandatory())
    .option('--model <dir>', 'Hugging Face model directory (the student)')
    .option('--teacher <dir>', 'for round, and for generate from a mixture')
    .option(
      '--shape <L,D,H,V>',
      'random GPT-2 instead of --model: layers, width, heads, vocabulary',
      sizes(4),
    )
    .option('--teacher-shape <L,D,H>', 'random GPT-2 instead of --teacher', sizes(3))
    .option('--batch <b>', 'sequences; for round the rollouts', positiveInteger, 16)
    .option('--prompt-len <p>', 'tokens of a prompt', positiveInteger, 32)
    .option('--max-response <r>', 'tokens of a response', positiveInteger, 64)
    .option('--input <file>', 'generate: JSONL or JSON rows {"ids":[…]}, instead of random prompts')
    .option('--eos', 'generate: the end token ends a response; otherwise none does')
    .option('--seq <s>', 'tokens of a sequence, for score and sft', positiveInteger, 128)
    .option('--minibatch <m>', 'round: responses of an optimizer step', positiveInteger, 16)
    .option('--inner <e>', 'round: passes over the rollouts', positiveInteger, 4)
    .option('--pt-len <n>', 'round: tokens of a pretraining row', positiveInteger, 96)
    .option('--gradient-checkpointing', 'sft and round: as train.gradient_checkpointing')
    .option('--lora <rank>', 'the student has adapters of this rank on all linear maps', positiveInteger)
    .option('--alpha <a>', 'share of the teacher in sampling', numberBetween(0, 1), 0.2)
    .option('--warmup <w>', 'runs before the clock starts', nonNegativeInteger, 1)
    .option('--repeat <n>', 'runs on the clock; the median is told', positiveInteger, 5)
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
Times are medians over the repeats. Side by side with PyTorch: experiments/bench.

Example:
  minillm bench --what round --shape 4,256,4,4096 --teacher-shape 6,384,6 --batch 64
`,
    );
  return withCommonOptions(command).action(async (options: BenchOptions) => {
    const log = logger(options);
    const prompts = await promptIds(options);
    const info = await startBackend(options, log);
    const { benchModels } = await import('../../bench/models.js');
    const { measure } = await import('../../bench/measure.js');
    const { workloads } = await import('../../bench/workloads.js');
    const { shape, teacherShape, what } = options;
    const longest = Math.max(...(prompts ?? []).map((ids) => ids.length), prompts ? 0 : options.promptLen);
    const models = await benchModels({
      ...(options.model !== undefined && { model: options.model }),
      ...(options.teacher !== undefined && { teacher: options.teacher }),
      ...(options.lora !== undefined && { lora: options.lora }),
      ...(shape && {
        shape: { layers: shape[0]!, hiddenSize: shape[1]!, heads: shape[2]!, vocabSize: shape[3]! },
      }),
      ...(teacherShape && {
        teacherShape: { layers: teacherShape[0]!, hiddenSize: teacherShape[1]!, heads: teacherShape[2]! },
      }),
      positions: 1 + Math.max(options.seq, longest + options.maxResponse, options.ptLen),
    });
    const work = workloads[what](models, { ...options, ...(prompts && { prompts }) });
    const result = await measure(() => work.run(), {
      warmup: options.warmup,
      repeat: options.repeat,
      onRun: (done, seconds) => log(`${what} ${done}/${options.repeat}: ${seconds.toFixed(3)} s`),
    });
    work.dispose();
    if (options.json) print(JSON.stringify(asJson(what, result, info.name)));
    else for (const line of table(what, result)) print(line);
  });
}

function asJson(what: WorkloadName, { parts, ...result }: Measurement, backend: string) {
  const round = what === 'round' && { ...parts, total_s: result.seconds };
  return { what, backend, ...result, ...round };
}

function table(what: WorkloadName, m: Measurement): string[] {
  const parts = Object.entries(m.parts).filter(() => what === 'round');
  return [
    `${what}: ${m.seconds.toFixed(4)} s (${m.min_s.toFixed(4)} to ${m.max_s.toFixed(4)} over ${m.repeats})`,
    ...parts.map(([name, seconds]) => `  ${name.padEnd(10)} ${seconds.toFixed(4)}`),
    `${Math.round(m.tokens_per_s)} tokens/s, peak memory ${m.peak_rss_mb} MB${m.peak_device_mb === undefined ? '' : `, ${m.peak_device_mb} MB of the card`}`,
  ];
}

/** The prompts of --input; undefined without it. @throws UsageError for another work than generate, or a row without ids */
async function promptIds({ input, what }: BenchOptions): Promise<number[][] | undefined> {
  if (input === undefined) return undefined;
  if (what !== 'generate') throw new UsageError(`bench --input: has no meaning for --what ${what}`);
  const { readPrompts } = await import('../../data/prompts.js');
  return (await readPrompts(input)).map(({ ids }, row) => {
    if (!ids) throw new UsageError(`${input}: row ${row} has no "ids"; bench reads no text`);
    return ids;
  });
}

/** A list of exactly `count` positive whole numbers, e.g. `4,256,4,4096`. */
function sizes(count: number): (text: string) => number[] {
  return (text) => {
    const list = integerList(text);
    if (list.length !== count || list.some((n) => n < 1))
      throw new InvalidArgumentError(`expected ${count} whole numbers from 1, separated by commas.`);
    return list;
  };
}
