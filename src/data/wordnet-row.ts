import type { TaskName } from './wordnet-tasks.js';

/** A row of the instruction set: Dolly's fields, the kind of request, and the head word that decided the split. */
export interface WordnetRow {
  instruction: string;
  input: string;
  output: string;
  task: TaskName;
  word: string;
  /** Of tasks with few possible answers: all of them. */
  choices?: readonly string[];
}
