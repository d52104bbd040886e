/** Tokenizers of the other two kinds that people have, a few tokens each, with the parts that their files consist of. */

const special = (id: number, content: string) => ({
  ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
});
const words = ['is', 'it', 'at', 'th', 'the', '▁the', '▁is', 'an', 'do', 'og'];
const letters = [...'▁abcdefghijklmnopqrstuvwxyzABCDIST.,:?!"0123456789'];
const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
const vocab = Object.fromEntries(
  ['<unk>', '<s>', '</s>', ...bytes, ...letters, ...words].map((token, id) => [token, id]),
);

/** LLaMA-2's: BPE with byte fall-back, BOS by template. */
export const sentencePiece = {
  'tokenizer.json': {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [special(0, '<unk>'), special(1, '<s>'), special(2, '</s>')],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: '<unk>', continuing_subword_prefix: null },
      ...{ end_of_word_suffix: null, fuse_unk: true, byte_fallback: true, ignore_merges: false, vocab },
      merges: ['i s', 'i t', 'a t', 't h', 'th e', '▁ the', '▁ is', 'a n', 'd o', 'o g'],
    },
  },
  'tokenizer_config.json': {
    ...{ add_bos_token: true, add_eos_token: false, bos_token: special(1, '<s>'), eos_token: '</s>' },
    ...{ unk_token: '<unk>', pad_token: null, clean_up_tokenization_spaces: false, legacy: true },
    ...{ model_max_length: 4096, tokenizer_class: 'LlamaTokenizer' },
  },
  'special_tokens_map.json': { bos_token: '<s>', eos_token: { content: '</s>' }, unk_token: '<unk>' },
  'generation_config.json': { bos_token_id: 1, eos_token_id: [2, 0], pad_token_id: 0 },
};

const pieces = ['[UNK]', '[PAD]', '[CLS]', '[SEP]', ...'abcdefghijklmnopqrstuvwxyz0123456789.,?:'];

/** BERT's: WordPiece with a normalizer, a splitter of its own and a regular expression. */
export const wordPiece = {
  'tokenizer.json': {
    version: '1.0',
    added_tokens: [special(0, '[UNK]'), special(3, '[SEP]')],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFD' },
        { type: 'Lowercase' },
        { type: 'StripAccents' },
        { type: 'Strip', strip_left: true, strip_right: true },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: '\\d|[\\p{L}]+|[^\\s]' }, behavior: 'Isolated', invert: false },
        { type: 'Digits', individual_digits: true },
        { type: 'Punctuation', behavior: 'Isolated' },
        { type: 'WhitespaceSplit' },
      ],
    },
    post_processor: { type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2] },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      ...{ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##' },
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(
        [...pieces, ...pieces.slice(4).map((c) => `##${c}`), 'the', 'cat', '##at'].map((token, id) => [
          token,
          id,
        ]),
      ),
    },
  },
  'tokenizer_config.json': { eos_token: '[SEP]', cls_token: '[CLS]', unk_token: '[UNK]', pad_token: '[PAD]' },
};

/** Chat templates of the shapes that models ship. */
export const chatTemplates: readonly string[] = [
  `{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] | trim + eos_token + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}`,
  `{%- if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif -%}
{{ bos_token }}{% for m in loop_messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if m.role == 'user' %}{{ '[INST] ' ~ m.content ~ ' [/INST]' }}{% else %}{{ ' ' + m.content | upper + eos_token }}{% endif %}{% endfor %}`,
  `{%- macro turn(role, text) %}{{ '<|im_start|>' + role + '\\n' + text + '<|im_end|>\\n' }}{%- endmacro %}
{%- set ns = namespace(last=messages | length - 1, seen=false) %}
{%- for i in range(0, 3) %}{{ i }}{% endfor %}
{%- for message in messages[::-1] %}{%- if ns.seen == false and message.role == 'user' %}{%- set ns.seen = true %}{%- endif %}{%- endfor %}
{%- for message in messages %}{{ turn(message.role, message.content if message.content is string else message.content | tojson) }}{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{%- if enable_thinking is defined and enable_thinking is false %}<think>\\n\\n</think>{% endif %}{%- endif %}{{ strftime_now('%d %b %Y') }}`,
];
