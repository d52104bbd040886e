import { cpSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { type Outcome, runInProcess, spawnSources } from '../helpers/cli.js';
import {
  type FileWorld,
  jsonl,
  worldConfig,
  writeConfig,
  writeFileWorld,
  writeTinyModel,
  writeTinyTokenizer,
} from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'cpu' });
const place = temporaryDirectory('bad-inputs');
const at = (name: string): string => join(place.path, name);
const out = at('out');
let world: FileWorld;
afterAll(place.remove);

/** Writes a file of the given text and gives its path. */
function file(name: string, text: string): string {
  writeFileSync(at(name), text);
  return at(name);
}

/** A copy of the student with something changed. */
function studentWith(name: string, change: (directory: string) => void): string {
  cpSync(world.student, at(name), { recursive: true });
  change(at(name));
  return at(name);
}

function editJson(path: string, change: Record<string, unknown>): void {
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }));
}

/** Arguments of `train` with a configuration that is right but for the change. */
function train(change: Record<string, unknown>, method = 'minillm', ...more: string[]): string[] {
  const config = writeConfig(at('config.yaml'), worldConfig(world, method, change));
  return ['train', config, '--out', out, '--backend', 'cpu', '--quiet', ...more];
}
const set = (...fields: string[]): string[] => train({}, 'minillm', ...fields.flatMap((f) => ['--set', f]));
const yaml = (text: string): string[] => [
  'train',
  file('raw.yaml', text),
  '--out',
  out,
  '--backend',
  'cpu',
  '--quiet',
];
const generate = (...more: string[]): string[] => [
  ...['generate', '--model', world.student, '--input', at('prompts.jsonl'), '--backend', 'cpu', '--quiet'],
  ...more,
];
const evaluate = (...more: string[]): string[] => [
  ...[
    'eval',
    '--model',
    world.student,
    '--data',
    world.valid,
    '--template',
    'none',
    '--backend',
    'cpu',
    '--quiet',
  ],
  ...more,
];

let manyLetters: string;
let otherTokenizer: string;
let padded: string;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  file('prompts.jsonl', jsonl([{ prompt: 'ab:' }]));
  manyLetters = jsonl([{ instruction: 'abababababababababab:', output: 'a' }]);
  otherTokenizer = at('other-tokenizer');
  await writeTinyModel(otherTokenizer, 4);
  writeTinyTokenizer(otherTokenizer, 'h');
  padded = at('small-vocabulary');
  await writeTinyModel(padded, 4, { vocab: 9 });
});

/** What is wrong, the arguments, and what the one line must say. */
const cases: [string, () => string[], RegExp][] = [
  // the command line itself
  ['unknown command', () => ['trian'], /unknown command 'trian'/],
  ['unknown flag', () => ['train', '--frobnicate', 'x.yaml'], /unknown option '--frobnicate'/],
  [
    'flag nearly right',
    () => generate('--sample', '2'),
    /unknown option '--sample' \(Did you mean --samples\?\)/,
  ],
  ['missing argument', () => ['train'], /missing required argument 'config'/],
  [
    'missing required flag',
    () => ['generate', '--model', world.student],
    /required option '--input <file>' not specified/,
  ],
  ['flag without its value', () => ['generate', '--model'], /'--model <dir>' argument missing/],
  ['one argument too many', () => ['train', 'a.yaml', 'b.yaml'], /too many arguments/],
  ['unknown backend', () => generate('--backend', 'gpu'), /argument 'gpu' is invalid.*tensorflow, wasm, cpu/],
  ['threads 0', () => generate('--threads', '0'), /'--threads <n>' argument '0' is invalid.*at least 1/],
  [
    'a number that is none',
    () => generate('--samples', 'many'),
    /'--samples <n>' argument 'many' is invalid/,
  ],
  [
    'a number below 0',
    () => generate('--max-new-tokens', '-3'),
    /'--max-new-tokens <n>' argument '-3' is invalid/,
  ],
  ['half a token', () => generate('--top-k', '2.5'), /'--top-k <k>' argument '2.5' is invalid/],
  ['an empty number', () => generate('--seed', ''), /'--seed <s>' argument '' is invalid/],
  ['a number beyond all bounds', () => generate('--seed', '1e30'), /'--seed <s>' argument '1e30' is invalid/],
  [
    'α above 1',
    () => generate('--mix-with', world.teacher, '--alpha', '1.2'),
    /'--alpha <a>' argument '1.2' is invalid.*0 to 1/,
  ],
  ['α below 0', () => generate('--mix-with', world.teacher, '--alpha', '-0.1'), /'--alpha <a>'/],
  ['α without a teacher', () => generate('--alpha', '0.3'), /--alpha: has no meaning without --mix-with/],
  ['temperature 0', () => generate('--temperature', '0'), /'--temperature <t>' argument '0' is invalid/],
  ['top-p above 1', () => generate('--top-p', '1.5'), /'--top-p <p>' argument '1.5' is invalid/],
  ['min-p of 1', () => generate('--min-p', '1'), /'--min-p <m>' argument '1' is invalid.*below 1/],
  ['no penalty', () => generate('--repetition-penalty', '0'), /'--repetition-penalty <t>' argument '0'/],
  ['half an n-gram', () => evaluate('--forbid-ngrams', '1.5'), /'--forbid-ngrams <n>' argument '1.5'/],
  ['an empty stop string', () => generate('--stop', ''), /a stop string is empty/],
  ['batches of 0', () => generate('--batch-size', '0'), /'--batch-size <b>'/],
  ['seeds that are none', () => evaluate('--seeds', '1,x'), /'--seeds <list>' argument '1,x' is invalid/],
  ['an empty seed', () => evaluate('--seeds', '1,,2'), /'--seeds <list>' argument '1,,2' is invalid/],
  [
    'unknown metric',
    () => evaluate('--metrics', 'rouge_l_greedy,bleu'),
    /--metrics bleu: expected one of rouge_l_sampled/,
  ],
  [
    'unknown template',
    () => evaluate('--template', 'chatml'),
    /--template chatml: expected one of alpaca, plain, none/,
  ],
  [
    'metric without its teacher',
    () => evaluate('--metrics', 'reverse_kl_seq'),
    /reverse_kl_seq needs a teacher; give --teacher DIR/,
  ],

  // the configuration
  [
    'configuration missing',
    () => ['train', at('absent.yaml'), '--out', out],
    /absent\.yaml: cannot be read \(ENOENT\)/,
  ],
  ['a directory for a configuration', () => ['train', place.path, '--out', out], /cannot be read \(EISDIR\)/],
  ['YAML syntax error', () => yaml('train: {steps: 3\nmethod: [sft'), /raw\.yaml: not valid YAML \(/],
  ['YAML tabs', () => yaml('train:\n\tsteps: 3'), /not valid YAML/],
  ['a key twice', () => yaml('method: sft\nmethod: kd'), /not valid YAML \(Map keys must be unique/],
  ['YAML that is a list', () => yaml('- sft'), /expected a YAML mapping/],
  ['an empty file', () => yaml(''), /expected a YAML mapping/],
  [
    'YAML alias bomb',
    () =>
      yaml(
        `a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [${'*a,'.repeat(9)}]\nc: &c [${'*b,'.repeat(9)}]\nd: [${'*c,'.repeat(9)}]`,
      ),
    /not valid YAML \(Excessive alias count/,
  ],
  ['a tag of another language', () => yaml('!!python/object:os.system\nmethod: sft'), /raw\.yaml: /],
  ['unknown key', () => train({ trian: {} }), /Unrecognized key: "trian"; expected method, seed,/],
  [
    'unknown key inside',
    () => train({ train: { step: 3 } }),
    /train: Unrecognized key: "step"; expected steps, epochs, batch_size/,
  ],
  ['unknown method', () => train({ method: 'ppo' }), /method: Invalid option: expected one of "minillm"/],
  ['unknown preset', () => train({ objective: { preset: 'ours' } }), /objective\.preset: Invalid option/],
  [
    'unknown switch',
    () => train({ objective: { kl_weight: 1 } }),
    /objective: Unrecognized key: "kl_weight"; expected alpha, gamma/,
  ],
  [
    'unknown template in the data',
    () => train({ data: { template: 'chatml' } }),
    /data\.template: Invalid option/,
  ],
  ['unknown backend in the file', () => train({ backend: 'gpu' }), /backend: Invalid option/],
  [
    'wrong type',
    () => train({ train: { lr: 'fast' } }),
    /train\.lr: Invalid input: expected number, received string/,
  ],
  ['missing field', () => train({ train: { lr: undefined } }), /train\.lr: Invalid input: expected number/],
  [
    'a section that is a number',
    () => train({ data: 5 }),
    /data: Invalid input: expected object, received number/,
  ],
  [
    'student of the wrong type',
    () => train({ student: 5 }),
    /student: expected the path of a model directory, or the shape of a new model/,
  ],
  [
    'half a shape',
    () => train({ student: { hidden_size: 16, tokenizer: world.student } }),
    /student\.layers: Invalid input/,
  ],
  [
    'unknown key in a shape',
    () => train({ student: { hiden_size: 16 } }),
    /student: Unrecognized key|student\.hidden_size/,
  ],
  ['teacher of the wrong type', () => train({ teacher: 7 }), /teacher: expected the path/],
  ['steps below 0', () => train({ train: { steps: -1 } }), /train\.steps: Too small/],
  ['half a step', () => train({ train: { steps: 2.5 } }), /train\.steps: Invalid input: expected int/],
  ['rate 0', () => train({ train: { lr: 0 } }), /train\.lr: Too small/],
  ['rate not a number', () => set('train.lr=.nan'), /train\.lr: Invalid input/],
  ['α outside [0, 1]', () => train({ objective: { alpha: 1.5 } }), /objective\.alpha: Too big/],
  [
    'switches at odds',
    () => train({ objective: { baseline: 'whiten', whiten: 'padded' } }),
    /objective\.whiten: .*standardise twice/,
  ],
  [
    'length_norm total with a discount',
    () => train({ objective: { length_norm: 'total', gamma: 0.9 } }),
    /objective\.gamma: 0\.9 with length_norm total/,
  ],
  [
    'a value head without rollouts',
    () => train({ method: 'kd', objective: { baseline: 'value' } }),
    /objective\.baseline: value needs a value head, which minillm and opd train and kd does not/,
  ],
  [
    'gae without rollouts',
    () => train({ method: 'gkd', objective: { returns: 'gae' } }),
    /objective\.returns: gae needs a value head, which minillm and opd train and gkd does not/,
  ],
  [
    'a value head that does not learn',
    () => train({ objective: { baseline: 'value' }, value: { steps: 0 } }),
    /value\.steps: /,
  ],
  [
    'group-normalised of one sample',
    () => train({ objective: { baseline: 'group-normalised' } }),
    /objective\.baseline: group-normalised.*set rollout\.samples to 2/,
  ],
  [
    'leave-one-out of one sample',
    () => train({ objective: { baseline: 'leave-one-out' } }),
    /objective\.baseline: leave-one-out.*set rollout\.samples to 2/,
  ],
  [
    'fewer slots than tokens',
    () => train({ objective: { preset: 'lmops', max_response: 3 } }),
    /objective\.max_response: 3 is less than rollout\.max_new_tokens 5/,
  ],
  [
    'rollouts no multiple of the batch',
    () => train({ rollout: { rollouts: 9 } }),
    /rollout\.rollouts: 9 is not a multiple of train\.batch_size 4/,
  ],
  [
    'batch no multiple of the samples',
    () => train({ rollout: { samples: 3 } }),
    /train\.batch_size: 4 is not a multiple of rollout\.samples 3/,
  ],
  [
    'more prompts a round than there are',
    () => train({ rollout: { rollouts: 64 } }),
    /a round asks 64 different prompts and the training data has 16/,
  ],
  [
    'a temperature where minillm does not look',
    () => train({ rollout: { temperature: 0.9 } }),
    /rollout\.temperature: minillm samples at objective\.temperature/,
  ],
  [
    'a preset for opd',
    () => train({ objective: { preset: 'lmops' } }, 'opd'),
    /objective\.preset: opd has switches of its own/,
  ],
  [
    'opd: rollouts, too',
    () => train({ rollout: { rollouts: 9 } }, 'opd'),
    /is not a multiple of train\.batch_size 4/,
  ],
  [
    'a replay buffer smaller than a batch',
    () => train({ distillm: { capacity: 3 } }, 'distillm'),
    /distillm\.capacity: 3 is less than train\.batch_size 4/,
  ],
  ['β outside [0, 1]', () => train({ gkd: { beta: 1.5 } }, 'gkd'), /gkd\.beta: Too big/],
  [
    'two teachers for gkd',
    () => train({ teacher: [world.teacher, world.secondTeacher] }, 'gkd'),
    /teacher: gkd takes one teacher, found 2/,
  ],
  [
    'warm-up beyond the end',
    () => train({ train: { warmup: 7 } }),
    /train\.warmup: 7 is more than train\.steps 6/,
  ],
  ['no teacher', () => train({ teacher: undefined }), /teacher: missing; minillm needs one/],
  [
    'two teachers for one',
    () => train({ teacher: [world.teacher, world.teacher] }),
    /teacher: minillm takes one teacher, found 2/,
  ],
  [
    'no room for a response',
    () => train({ data: { max_prompt_tokens: 14 } }),
    /data\.max_prompt_tokens: 14 leaves no room/,
  ],
  [
    'longer than the context',
    () => train({ data: { max_tokens: 99 } }),
    /data\.max_tokens: 99 is more than a model's context of 24/,
  ],
  [
    'responses longer than the context',
    () => train({ rollout: { max_new_tokens: 17 } }),
    /is 25, more than a model's context of 24/,
  ],
  [
    'plain text longer than the context',
    () => train({ pretrain: { length: 25 } }),
    /pretrain\.length: 25 is more than a model's context of 24/,
  ],
  ['plain text of one token', () => train({ pretrain: { length: 1 } }), /pretrain\.length: Too small/],
  ['no data', () => train({ data: { train: undefined } }), /data\.train: missing/],
  [
    'patience without validation data',
    () => train({ data: { valid: undefined }, eval: { patience: 2 } }),
    /eval\.patience: 2 validations of none; give data\.valid, or leave it out/,
  ],
  [
    'data and wordnet',
    () => train({ data: { wordnet: {} } }),
    /data: give either wordnet or train and valid, not both/,
  ],
  ['a set without a value', () => set('train.steps'), /--set train\.steps: expected field=value/],
  ['a set without a field', () => set('=5'), /--set =5: expected field=value/],
  ['a set of an unknown field', () => set('train.stepz=5'), /train: Unrecognized key: "stepz"/],
  ['a set that is no YAML', () => set('train.steps=[1'), /--set train\.steps=\[1: not valid YAML/],
  [
    'a set through a number',
    () => set('train.lr.x=1'),
    /train\.lr: Invalid input: expected number, received object/,
  ],
  ['a prototype by --set', () => set('__proto__.polluted=1'), /Unrecognized key: "__proto__"/],
  ['a prototype further in', () => set('train.__proto__.polluted=1'), /train: Unrecognized key: "__proto__"/],
  ['a constructor', () => set('constructor.prototype.polluted=1'), /Unrecognized key: "constructor"/],
  [
    'a prototype in the file',
    () => {
      const args = train({});
      writeFileSync(args[1]!, `${readFileSync(args[1]!, 'utf8')}\n__proto__: {polluted: 1}\n`);
      return args;
    },
    /Unrecognized key: "__proto__"/,
  ],

  // files that the configuration names
  ['student missing', () => train({ student: at('absent') }), /student: .*absent does not exist/],
  ['teacher missing', () => train({ teacher: at('absent') }), /teacher: .*absent does not exist/],
  [
    'data missing',
    () => train({ data: { train: at('absent.jsonl') } }),
    /data\.train: .*absent\.jsonl does not exist/,
  ],
  ['data empty', () => train({ data: { train: file('empty.jsonl', '') } }), /empty\.jsonl: has no rows/],
  ['data a directory', () => train({ data: { train: place.path } }), /cannot be read: it is a directory/],
  [
    'a broken line',
    () =>
      train({ data: { train: file('broken.jsonl', '{"instruction":"ab:","output":"a"}\n{"instr\n{}\n') } }),
    /broken\.jsonl:2: not JSON/,
  ],
  [
    'a row of another kind',
    () => train({ data: { train: file('odd.jsonl', '{"txt":"ab"}\n') } }),
    /odd\.jsonl:1: expected a field "instruction"/,
  ],
  [
    'a row of plain text',
    () => train({ data: { train: file('plain.jsonl', '{"text":"ab"}\n') } }),
    /plain\.jsonl:1: has "text" alone, in which nothing says where an answer begins; give it as "prompt" and "completion"/,
  ],
  [
    'a row without an answer',
    () => train({ data: { train: file('mute.jsonl', '{"instruction":"ab:"}\n') } }, 'sft'),
    /mute\.jsonl:1: has no "output"/,
  ],
  [
    'over-long prompts only',
    () => train({ data: { train: file('long.jsonl', manyLetters) } }),
    /long\.jsonl: all 1 rows are over the limits/,
  ],
  [
    'data in another encoding',
    () => {
      writeFileSync(at('latin.jsonl'), Buffer.from([0x7b, 0xff, 0xfe, 0x7d, 0x0a]));
      return train({ data: { train: at('latin.jsonl') } });
    },
    /not valid UTF-8/,
  ],
  [
    'too little plain text',
    () => train({ data: { corpus: file('short.txt', 'ab') } }),
    /short\.txt: has 2 tokens, fewer than one piece of 6/,
  ],
  [
    'different tokenizers',
    () => train({ teacher: otherTokenizer }),
    /student and teacher have different tokenizers/,
  ],
  [
    'vocabulary smaller than the tokenizer',
    () => train({ teacher: padded }),
    /the tokenizer has 15 tokens and a model only 9/,
  ],
  [
    'tokenizer missing',
    () => train({ student: { hidden_size: 8, layers: 1, heads: 2, tokenizer: place.path } }),
    /no tokenizer\.json/,
  ],
  [
    'a shape that cannot be',
    () =>
      train({
        student: { hidden_size: 9, layers: 1, heads: 2, max_positions: 24, tokenizer: world.student },
      }),
    /new llama model: /,
  ],
  [
    'weights cut off',
    () => train({ student: studentWith('cut', (d) => truncateSync(join(d, 'model.safetensors'), 900)) }),
    /model\.safetensors: /,
  ],
  [
    'weights of another kind',
    () =>
      train({
        student: studentWith('fake', (d) => writeFileSync(join(d, 'model.safetensors'), 'x'.repeat(99))),
      }),
    /model\.safetensors: /,
  ],
  [
    'weights missing',
    () => train({ student: studentWith('none', (d) => truncateSync(join(d, 'model.safetensors'), 0)) }),
    /model\.safetensors: /,
  ],
  [
    'an architecture not supported',
    () =>
      train({
        student: studentWith('bert', (d) => editJson(join(d, 'config.json'), { model_type: 'bert' })),
      }),
    /model_type is "bert"; supported: llama, gpt2/,
  ],
  [
    'a field not supported',
    () =>
      train({ student: studentWith('act', (d) => editJson(join(d, 'config.json'), { hidden_act: 'relu' })) }),
    /hidden_act is "relu"; only "silu" is supported/,
  ],
  [
    'config.json that is no JSON',
    () => train({ student: studentWith('json', (d) => writeFileSync(join(d, 'config.json'), '{')) }),
    /config\.json: not JSON/,
  ],
  [
    'config.json at odds with the weights',
    () =>
      train({
        student: studentWith('shape', (d) =>
          editJson(join(d, 'config.json'), { hidden_size: 32, head_dim: 8 }),
        ),
      }),
    /has shape \[/,
  ],
  [
    'tokenizer.json that is no JSON',
    () => train({ student: studentWith('tok', (d) => writeFileSync(join(d, 'tokenizer.json'), '{')) }),
    /tokenizer\.json: not JSON/,
  ],

  // generate and eval
  ['model missing', () => generate('--model', at('absent')), /absent: no such model directory/],
  [
    'input missing',
    () => generate('--input', at('absent.jsonl')),
    /absent\.jsonl cannot be read: no such file/,
  ],
  ['input empty', () => generate('--input', file('nothing.jsonl', '\n\n')), /nothing\.jsonl: has no rows/],
  ['input a directory', () => generate('--input', place.path), /cannot be read: it is a directory/],
  [
    'ids out of range',
    () => generate('--input', file('far.jsonl', '{"ids":[1,2]}\n{"ids":[3,15]}\n')),
    /prompt 1 holds the token id 15, outside the vocabulary of 15/,
  ],
  [
    'ids below 0',
    () => generate('--input', file('minus.jsonl', '{"ids":[-1]}\n')),
    /minus\.jsonl:1: "ids"\[0\]: -1 is no token id/,
  ],
  [
    'ids empty',
    () => generate('--input', file('void.jsonl', '{"ids":[]}\n')),
    /void\.jsonl:1: "ids": expected a list of token ids that is not empty/,
  ],
  [
    'ids of the wrong type',
    () => generate('--input', file('text.jsonl', '{"ids":"1 2"}\n')),
    /text\.jsonl:1: "ids": expected a list/,
  ],
  [
    'prompts empty',
    () => generate('--input', file('blank.jsonl', '{"prompt":""}\n')),
    /blank\.jsonl:1: expected \{"prompt"/,
  ],
  [
    'a prompt that fills the context',
    () => generate('--input', file('full.jsonl', jsonl([{ ids: new Array(24).fill(1) }]))),
    /prompt 0 has 24 tokens, which fills the model's context of 24/,
  ],
  [
    'a prompt of letters that the tokenizer lacks',
    () => generate('--input', file('letter.jsonl', '{"prompt":"xyz"}\n')),
    /prompt 0 has no tokens/,
  ],
  [
    'what would steer a terminal',
    () => generate('--input', file('steer.jsonl', '{"prompt":\u001b[31m"a"}\n')),
    /steer\.jsonl:1: not JSON [^\p{Cc}]*\n$/u,
  ],
  ['a mixture of different tokenizers', () => generate('--mix-with', otherTokenizer), /different tokenizers/],
  ['a teacher of another tokenizer', () => evaluate('--teacher', otherTokenizer), /different tokenizers/],
  [
    'data without rows within the limits',
    () => evaluate('--data', file('long-eval.jsonl', manyLetters), '--max-prompt-tokens', '4'),
    /all 1 rows are over the limits/,
  ],
];

/** Fields of single methods: each is named in the line. */
const methodFields: [string, string][] = [
  ['gkd.beta=2', 'expected number to be <=1'],
  ['gkd.lambda=-1', 'expected number to be >=0'],
  ['gkd.seq_kd=perhaps', 'expected boolean'],
  ['kd.ratio=all', 'expected number'],
  ['kd.alpha=1.5', 'expected number to be <=1'],
  ['kd.temperature=0', 'expected number to be >0'],
  ['kd.reduction=mean', 'expected one of "batchmean"|"token"'],
  ['imitkd.gold_decay=2', 'expected number to be <=1'],
  ['distillm.divergence=kl', 'expected one of "skew-forward"|"skew-reverse"'],
  ['distillm.lambda=-0.1', 'expected number to be >=0'],
  ['distillm.threshold=3', 'expected number to be <=1'],
  ['distillm.capacity=0', 'expected number to be >=1'],
  ['distillm.lm_coef=-1', 'expected number to be >=0'],
  ['train.prompt_weight=-1', 'expected number to be >=0'],
  ['objective.aggregation=mean', 'expected one of "token-mean"'],
  ['pretrain.rows=batch', 'expected one of "round"|"step"'],
  ['eval.patience=0', 'expected number to be >=1'],
];
const escaped = (text: string): string => text.replace(/[.|"<>=()]/g, '\\$&');
for (const [field, expected] of methodFields) {
  const line = new RegExp(
    `--set ${escaped(field)}: ${escaped(field.split('=')[0]!)}: .*${escaped(expected)}`,
  );
  cases.push([`field ${field}`, () => set(field), line]);
}
cases.push(
  [
    'a text loss without text',
    () => train({ data: { corpus: undefined }, distillm: { lm_coef: 0.1 } }, 'distillm'),
    /distillm\.lm_coef: 0\.1 weighs a loss on plain text; give data\.corpus, or set it to 0/,
  ],
  [
    'patience without validations',
    () => set('eval.every=0', 'eval.patience=2'),
    /eval\.patience: 2 validations of none; set eval\.every to 1 or more/,
  ],
);

describe('bad input: one line, exit code 2, nothing written', () => {
  it('is tried in more than forty ways', () => {
    expect(cases.length).toBeGreaterThan(100);
    expect(new Set(cases.map(([name]) => name)).size).toBe(cases.length);
  });

  it.each(cases)('%s', async (_, args, line) => {
    check(await runInProcess(...args()), line);
  });

  it('the world itself is right: the same configuration unchanged trains', async () => {
    const fine = at('fine');
    const args = train({ train: { steps: 1, warmup: 0 }, eval: { every: 0, prompts: 1 } });
    const result = await runInProcess(...args, '--out', fine);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(existsSync(join(fine, 'final', 'model.safetensors'))).toBe(true);
  });

  it('--debug shows where it came from', async () => {
    const shown = vi.spyOn(console, 'error').mockImplementation(() => {});
    const result = await runInProcess(...generate('--alpha', '0.5', '--debug'));
    expect(result).toEqual({ code: 2, stdout: '', stderr: '' });
    expect((shown.mock.calls[0]![0] as Error).stack).toMatch(/generate\.ts/);
    shown.mockRestore();
  });
});

describe('the same as real processes', () => {
  it.concurrent.each([
    [['trian'], /unknown command 'trian'/],
    [['train', 'absent.yaml', '--out', out], /absent\.yaml: cannot be read/],
    [
      ['generate', '--model', 'absent', '--input', 'absent.jsonl'],
      /absent: no such model directory, and no revision main of it in .+; ask for a download/,
    ],
  ] as [string[], RegExp][])('%j', async (args, line) => {
    check(await spawnSources(...args).done, line);
  });
});

function check(result: Outcome, line: RegExp): void {
  expect(result.stderr).toMatch(line);
  expect(result.stderr).toMatch(/^minillm: [^\n]+\n$/);
  expect(result.stderr.length).toBeLessThan(700);
  expect(result.code).toBe(2);
  expect(result.stdout).toBe('');
  expect(existsSync(out), 'nothing is written to --out').toBe(false);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
}
