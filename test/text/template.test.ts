import { describe, expect, it } from 'vitest';
import { formatPrompt, templateNames } from '../../src/text/template.js';

describe('formatPrompt', () => {
  it('alpaca with input is MiniLLM’s wording, to the character', () => {
    expect(formatPrompt({ instruction: 'Add.', input: '1 2' })).toBe(
      'Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n',
    );
  });

  it.each([{ instruction: 'Sing.' }, { instruction: 'Sing.', input: '' }])(
    'alpaca without input: %j',
    (request) => {
      expect(formatPrompt(request, 'alpaca')).toBe(
        'Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nSing.\n\n### Response:\n',
      );
    },
  );

  it('plain and none', () => {
    expect(formatPrompt({ instruction: 'Add.', input: '1 2' }, 'plain')).toBe('Add.\n1 2\nAnswer:\n');
    expect(formatPrompt({ instruction: 'Sing.', input: '' }, 'plain')).toBe('Sing.\nAnswer:\n');
    expect(formatPrompt({ instruction: 'Add.', input: '1 2' }, 'none')).toBe('Add.\n1 2');
    expect(formatPrompt({ instruction: 'Sing.' }, 'none')).toBe('Sing.');
    expect(templateNames).toEqual(['alpaca', 'plain', 'none']);
  });
});
