import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { withCommonOptions } from '../src/cli/common.js';
import { createProgram, everyCommand } from '../src/cli/program.js';
import { metricNames } from '../src/evaluation/evaluationMetrics.js';
import { aggregations } from '../src/objectives/aggregate.js';
import { baselines } from '../src/objectives/baselines.js';
import { entropyBonus } from '../src/objectives/entropyBonus.js';
import { importances } from '../src/objectives/importance.js';
import { klEstimators } from '../src/objectives/klEstimators.js';
import { lengthNorms } from '../src/objectives/lengthNorm.js';
import { objectiveSchema, presetNames, presets } from '../src/objectives/presets.js';
import { returnForms } from '../src/objectives/returns.js';
import { kdScales } from '../src/objectives/softening.js';
import { ratios } from '../src/objectives/surrogate.js';
import { samplingSchemes } from '../src/rollout/uniforms.js';
import { promptFormats } from '../src/text/template.js';
import { trainConfigSchema } from '../src/training/config.js';

/** The tables of docs/ say what the code says: names, defaults and preset values. */
const page = (name: string): string => readFileSync(resolve(import.meta.dirname, '../docs', name), 'utf8');

/** The cells of the table row that begins with `name`, back-ticks removed. */
function row(text: string, name: string): string[] | undefined {
  const line = text.split('\n').find((l) => l.startsWith(`| \`${name}\``));
  return line?.split('|').map((cell) => cell.trim().replaceAll('`', ''));
}

interface Field {
  properties?: Record<string, Field>;
  anyOf?: Field[];
  default?: unknown;
}

/** Every leaf of a JSON schema with its dotted name. */
function leaves(schema: Field, prefix = ''): [name: string, field: Field][] {
  return (schema.anyOf ?? [schema]).flatMap((branch) =>
    Object.entries(branch.properties ?? {}).flatMap(([key, field]): [string, Field][] => {
      const name = prefix ? `${prefix}.${key}` : key;
      const nested = field.properties ?? field.anyOf?.some((option) => option.properties);
      return nested ? leaves(field, name) : [[name, field]];
    }),
  );
}

describe('docs/configuration.md', () => {
  const text = page('configuration.md');
  const fields = leaves(z.toJSONSchema(trainConfigSchema, { io: 'input', unrepresentable: 'any' }) as Field);
  const own = fields.filter(([name]) => !name.startsWith('objective.'));

  it('reads the whole schema', () => expect(own.length).toBeGreaterThan(40));

  it.each(own)('%s is described with its default', (name, field) => {
    const cells = row(text, name);
    expect(cells, `a table row for ${name}`).toBeDefined();
    if (field.default === undefined) return;
    const plain = JSON.stringify(field.default).replaceAll('"', '').replaceAll(',', ', ');
    const documented = cells![2]!;
    expect(documented === plain || Number(documented) === Number(plain), `${name}: ${documented}`).toBe(true);
  });
});

describe('docs/rewards.md', () => {
  const text = page('rewards.md');
  const { rewards } = z.toJSONSchema(trainConfigSchema, { io: 'input', unrepresentable: 'any' })
    .properties as unknown as {
    rewards: { items: Field };
  };
  it.each(leaves(rewards.items))('rewards[].%s is described with its default', (name, field) => {
    const cells = row(text, `rewards[].${name}`);
    expect(cells, `a table row for ${name}`).toBeDefined();
    if (field.default !== undefined) expect(cells![2]).toBe(String(field.default));
  });
});

describe('docs/cli.md', () => {
  const text = page('cli.md');
  const common = new Set(['--help', ...withCommonOptions(new Command()).options.map(({ long }) => long!)]);
  const leaves = everyCommand(createProgram()).filter(
    (command) => command.parent && command.commands.length === 0,
  );
  const pathOf = (command: Command): string =>
    command.parent ? `${pathOf(command.parent)} ${command.name()}`.trim() : '';
  const sections = new Map(
    text
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.split('\n')[0]!.trim(), section]),
  );

  it.each(leaves.map((command) => [pathOf(command), command] as const))(
    '%s: its options are those of --help',
    (name, command) => {
      const section = sections.get(name);
      expect(section, `a section ${name}`).toBeDefined();
      // Options of other programs and commands stand in shell lines, which are indented.
      const prose = section!.replace(/^ {4}.*$/gm, '');
      const named = new Set(
        (prose.match(/(?<![\w-])--[a-z][a-z-]*/g) ?? []).filter((flag) => !common.has(flag)),
      );
      const own = command.options.map(({ long }) => long!).filter((flag) => !common.has(flag));
      // `--no-cache` stands for itself and for `--cache`.
      expect([...named].sort()).toEqual([...new Set(own)].sort());
    },
  );

  it('the options that every command takes are told once', () => {
    const start = text.slice(0, text.indexOf('\n## '));
    for (const flag of common) if (flag !== '--help') expect(start).toContain(flag);
  });

  it('names no command that is not there', () => {
    const others = new Set(['A run directory']);
    const names = leaves.map(pathOf);
    expect([...sections.keys()].filter((name) => !others.has(name)).sort()).toEqual([...names].sort());
  });

  it('eval --help lists every metric and every template', () => {
    const command = leaves.find((one) => pathOf(one) === 'eval')!;
    let help = '';
    command.configureOutput({
      writeOut: (part) => {
        help += part;
      },
    });
    command.outputHelp();
    const listed = /Metrics \(docs\/evaluation\.md\):([\s\S]*)Example:/.exec(help)![1]!;
    const words = listed.match(/[a-z_0-9]+(?=[,\n])/g)!.filter((word) => word !== 'estimates');
    expect([...new Set(words)].sort()).toEqual([...metricNames].sort());
    for (const name of promptFormats) expect(help).toMatch(new RegExp(`become a[\\s]+prompt:[^)]*${name}`));
  });
});

describe('docs/estimators.md', () => {
  const text = page('estimators.md');
  const records: [string, Record<string, object>, string[]][] = [
    ['returns', returnForms, ['equation', 'claim', 'cost']],
    ['baseline', baselines, ['equation', 'claim', 'cost']],
    ['importance', importances, ['equation', 'claim', 'cost']],
    ['sampling', samplingSchemes, ['equation', 'claim', 'cost']],
    ['ratio', ratios, ['equation', 'source', 'claim']],
    ['length_norm', lengthNorms, ['equation', 'claim']],
    ['aggregation', aggregations, ['equation', 'note']],
    ['KL', klEstimators, ['equation', 'claim']],
  ];
  const entries = records.flatMap(([record, names, fields]) =>
    Object.entries(names).map(([name, entry]) => ({ record, name, entry, fields })),
  );
  it.each(entries)('$record $name is described as its record says', ({ name, entry, fields }) => {
    const cells = fields.map((field) => String(entry[field as keyof typeof entry]).replaceAll('|', '\\|'));
    expect(text).toContain(`\n| \`${name}\` | ${cells.join(' | ')} |\n`);
  });
});

it.each(Object.entries(kdScales))(
  'docs/methods/README.md describes kd_scale %s as its record says',
  (name, entry) => {
    const { equation, source, claim } = entry;
    expect(page('methods/README.md')).toContain(`\n| \`${name}\` | ${equation} | ${source} | ${claim} |\n`);
  },
);

it('docs/estimators.md describes the entropy bonus as its record says', () => {
  const { equation, source, claim } = entropyBonus;
  expect(page('estimators.md')).toContain(`\n| ${equation} | ${source} | ${claim} |\n`);
});

describe('docs/minillm.md', () => {
  const text = page('minillm.md');
  it.each(Object.keys(objectiveSchema.shape) as (keyof typeof presets.minillm)[])(
    'the switch %s has the value of every preset',
    (name) => {
      const cells = row(text, name);
      // Presets stand in the order of their table: minillm, lmops, paper.
      expect(cells?.slice(2, 5)).toEqual(presetNames.map((preset) => String(presets[preset][name])));
    },
  );
});

it.each(metricNames)('docs/evaluation.md defines %s', (name) => {
  expect(page('evaluation.md')).toContain(`\`${name}`);
});
