/** The example's data in TRL's forms, and the WordNet pair with the chat template that a conversation needs. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatPrompt } from '../../src/text/template.js';

const wordnet = fileURLToPath(new URL('../wordnet', import.meta.url));

interface WordNetRow {
  instruction: string;
  input: string;
  output: string;
}

/** Prompts of the MiniLLM run: 20 steps of 16 responses, two to a prompt. */
const PROMPTS = 160;
/** Conversations of the GKD run: 20 steps of 16. */
const CONVERSATIONS = 320;

/** What the prompts of the pair end in, written by a chat template: the answer opens behind "Answer:" and a line break. */
const CHAT_TEMPLATE =
  "{% for message in messages %}{% if message['role'] == 'assistant' %}{{ 'Answer:\n' + message['content'] + eos_token }}" +
  "{% else %}{{ message['content'] + '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Answer:\n' }}{% endif %}";

/** Files that the two configurations and TRL's scripts read, by the names that those have. */
export interface Material {
  prompts: string;
  messages: string;
  student: string;
  teacher: string;
}

/**
 * Writes prompts.jsonl (`{prompt}`: TRL's standard prompt-only form), messages.jsonl (`{messages}`: its conversational language
 * modelling form) and the two models into a directory.
 *
 * @param rows of `minillm data build wordnet`
 */
export function makeMaterial(rows: readonly WordNetRow[], out: string): Material {
  mkdirSync(out, { recursive: true });
  if (rows.length < CONVERSATIONS) throw new Error(`${rows.length} rows; expected at least ${CONVERSATIONS}`);
  const prompts = rows.slice(0, PROMPTS).map((row) => ({ prompt: formatPrompt(row, 'plain') }));
  const messages = rows.slice(0, CONVERSATIONS).map(({ instruction, input, output }) => ({
    messages: [
      { role: 'user', content: input ? `${instruction}\n${input}` : instruction },
      { role: 'assistant', content: output },
    ],
  }));
  return {
    prompts: write(join(out, 'prompts.jsonl'), prompts),
    messages: write(join(out, 'messages.jsonl'), messages),
    student: withTemplate('student', out),
    teacher: withTemplate('teacher', out),
  };
}

export function readRows(file: string): WordNetRow[] {
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as WordNetRow);
}

function write(file: string, rows: readonly object[]): string {
  writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return file;
}

function withTemplate(name: string, out: string): string {
  const directory = join(out, name);
  cpSync(join(wordnet, name), directory, { recursive: true });
  const file = join(directory, 'tokenizer_config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, `${JSON.stringify({ ...config, chat_template: CHAT_TEMPLATE }, null, 2)}\n`);
  return directory;
}
