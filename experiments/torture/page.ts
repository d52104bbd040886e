import type { Failure, Part } from './part.js';
import type { PartState } from './state.js';

const thousands = (n: number): string => Math.round(n).toLocaleString('en-US');
const oneLine = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** docs/reliability.md: all numbers come from the state files, all descriptions from the parts. */
export function page(told: readonly { part: Part; state: PartState }[]): string {
  const seconds = told.reduce((sum, { state }) => sum + state.seconds, 0);
  const sessions = told.flatMap(({ part, state }) => state.sessions.map((s) => ({ part: part.name, ...s })));
  return `# Reliability: which hostile files and faults were tried

The campaign writes this page; do not edit it by hand.

    npm run torture -- --minutes 60

It is seeded and resumable: the same call goes on with the next case, and does cases again that failed before. Its state is in
\`experiments/torture/results\`. \`--parts a,b\` chooses parts; \`--seed\` with \`--out FOLDER\` begins another series. So far it ran
${thousands(seconds / 60)} minutes in ${sessions.length} calls:

| part | minutes | cases | failures found | still open |
|---|--:|--:|--:|--:|
${told.map(summary).join('\n')}

${told.map(section).join('\n')}
## Where it ran

| part | started | minutes asked for | commit | machine |
|---|---|--:|---|---|
${sessions.map((s) => `| ${s.part} | ${s.started} | ${s.minutes} | ${s.commit} | ${s.machine} |`).join('\n')}
`;
}

function summary({ part, state }: { part: Part; state: PartState }): string {
  const open = state.failures.filter((failure) => !failure.mended).length;
  return `| [${part.name}](#${part.name}) | ${(state.seconds / 60).toFixed(1)} | ${thousands(state.next)} | ${state.failures.length} | ${open} |`;
}

function section({ part, state }: { part: Part; state: PartState }): string {
  const { counts, facts, failures } = state;
  // Kinds, which begin with a dot, come after the totals, the largest first.
  const kind = (name: string): number => Number(name.startsWith('·'));
  const sorted = Object.entries(counts).sort(([a, n], [b, m]) => kind(a) - kind(b) || kind(a) * (m - n));
  const rows = [
    ...sorted.map(([name, n]) => `| ${name} | ${thousands(n)} |`),
    ...Object.entries(facts).map(([name, value]) => `| ${name} | ${oneLine(value)} |`),
  ];
  return `## ${part.name}

${part.what}

| | |
|---|--:|
${rows.join('\n')}

${failures.length === 0 ? 'No failure was found in these cases.' : failureTable(failures)}
${part.foundBefore ? `\n${part.foundBefore}\n` : ''}
Not covered: ${part.leavesOut}
`;
}

/** One row for all failures of one kind in one place. */
function failureTable(failures: readonly Failure[]): string {
  const kinds = new Map<string, Failure[]>();
  for (const failure of failures) {
    const kind = `${failure.where}\n${failure.what.replaceAll(/\d+/g, '')}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), failure]);
  }
  const rows = [...kinds.values()].map((same) => {
    const { where, what, found } = same[0]!;
    const open = same.filter((failure) => !failure.mended);
    const ended = open.length > 0 ? `open: case ${open[0]!.case}` : `mended ${same.at(-1)!.mended}`;
    const times = same.reduce((sum, failure) => sum + failure.times, 0);
    return `| ${oneLine(where)} | ${oneLine(what).slice(0, 200)} | ${times} | ${found} | ${ended} |`;
  });
  return `| where | what went wrong | cases | found | now |\n|---|---|--:|---|---|\n${rows.join('\n')}`;
}
