/** What a template is filled with. */
export interface Request {
  instruction: string;
  /** The material to work on; may be missing or empty. */
  input?: string;
}

/** Turns a request into the prompt that the model continues. The prompt ends where the response begins. */
type Template = (request: Request) => string;

const withInput =
  'Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.';
const withoutInput =
  'Below is an instruction that describes a task. Write a response that appropriately completes the request.';

/**
 * The prompt templates by name.
 *
 * - `alpaca`: the wording that MiniLLM trains and tests with (LMOps, tools/process_data_dolly.py; from Stanford
 *   Alpaca, Taori et al. 2023).
 * - `plain`: the same parts without the sentences around them, for models whose whole context is 64 tokens. Like
 *   `alpaca` it ends in a single line break after a colon, which byte-level pre-tokenisation always cuts off on its
 *   own: the prompt's tokens are the same with and without a response.
 * - `none`: instruction and input as they are, one under the other, for texts that are already prompts.
 */
export const templates = {
  alpaca: ({ instruction, input }) =>
    input
      ? `${withInput}\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`
      : `${withoutInput}\n\n### Instruction:\n${instruction}\n\n### Response:\n`,
  plain: ({ instruction, input }) => `${instruction}\n${input ? `${input}\n` : ''}Answer:\n`,
  none: ({ instruction, input }) => (input ? `${instruction}\n${input}` : instruction),
} as const satisfies Record<string, Template>;

export type TemplateName = keyof typeof templates;
export const templateNames = Object.keys(templates) as [TemplateName, ...TemplateName[]];

/** How a row becomes a prompt: a template from above, or the chat template that comes with the tokenizer. */
export const promptFormats = [...templateNames, 'chat'] as const;
export type PromptFormat = (typeof promptFormats)[number];

/** The prompt for a request in the named template (MiniLLM's unless told otherwise). */
export function formatPrompt(request: Request, template: TemplateName = 'alpaca'): string {
  return templates[template](request);
}
