import { Template } from '@huggingface/jinja';
import { UsageError } from '../errors.js';

/** One turn of a conversation, as `transformers` writes it. */
export interface ChatMessage {
  role: string;
  content: string;
}

/** Turns a conversation into the text that the model continues with the assistant's next turn. */
export type Chat = (messages: readonly ChatMessage[]) => string;

/**
 * The chat template of a tokenizer, as `apply_chat_template(messages, add_generation_prompt=True)` of `transformers`
 * renders it: from chat_template.jinja, else `chat_template` of tokenizer_config.json (a text, or a list of named ones of
 * which `default` counts). The text carries its own special tokens: encode it without adding any.
 *
 * @param settings tokenizer_config.json @param file content of chat_template.jinja, where there is one
 * @returns undefined where the tokenizer has no template
 * @throws UsageError, when it is used, for a template that cannot be read or refuses the conversation
 */
export function chatOf(
  settings: Record<string, unknown>,
  file: string | undefined,
  where: string,
): Chat | undefined {
  const source = file ?? named(settings.chat_template);
  if (source === undefined) return undefined;
  let template: Template | undefined;
  return (messages) => {
    try {
      template ??= new Template(source);
      return template.render({
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: true,
        bos_token: tokenText(settings.bos_token),
        eos_token: tokenText(settings.eos_token),
        unk_token: tokenText(settings.unk_token),
        pad_token: tokenText(settings.pad_token),
        tools: null,
        documents: null,
      });
    } catch (error) {
      throw new UsageError(`${where}: its chat template fails: ${(error as Error).message.split('\n')[0]}`);
    }
  };
}

function named(template: unknown): string | undefined {
  if (typeof template === 'string') return template;
  if (!Array.isArray(template)) return undefined;
  const entries = template as { name?: unknown; template?: unknown }[];
  const chosen = entries.find((entry) => entry?.name === 'default') ?? entries[0];
  return typeof chosen?.template === 'string' ? chosen.template : undefined;
}

/** A special token stands as its text, or as an object with its content. */
function tokenText(token: unknown): string {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : '';
}
