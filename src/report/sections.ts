import { boldEntries } from './best.js';
import { comparisonTable } from './comparisonTable.js';
import { configurationSection } from './configuration.js';
import type { Differences } from './differences.js';
import type { Entry } from './entries.js';
import { escapeHtml } from './escape.js';
import { fewestPredictions } from './evaluationCurves.js';
import type { Figure } from './figure.js';
import { cards } from './headline.js';
import type { CurveGroup } from './learningCurves.js';
import { rankTable } from './rankTable.js';
import { findRewardHacking } from './rewardHacking.js';
import type { Run } from './runs.js';
import { sampleBrowser } from './samples.js';
import { intervalRule } from './uncertainty.js';
import type { VarianceSection } from './varianceFile.js';

/** Everything that the page is made of. */
export interface PageParts {
  /** Every run, and what of them is compared. */
  runs: readonly Run[];
  entries: readonly Entry[];
  colors: ReadonlyMap<Entry, number>;
  comparison: readonly Figure[];
  differences: Differences | undefined;
  distributions: readonly Figure[];
  exposure: readonly Figure[];
  calibration: readonly Figure[];
  curves: readonly CurveGroup[];
  variance: readonly VarianceSection[];
  /** Name of the folder with the figures, and each figure's file name in it without ending. */
  filesFolder: string;
  fileOf: ReadonlyMap<Figure, string>;
}

export interface Section {
  id: string;
  title: string;
  body: string;
}

/** The sections that have something to say, in the order of reading; the five that every report has are always there. */
export function sectionsOf(parts: PageParts): Section[] {
  const { runs, entries, colors } = parts;
  const figures = (list: readonly Figure[]): string => figureGrid(list, parts);
  const optional = (list: readonly Figure[], id: string, title: string, text: string): Section[] =>
    list.length === 0 ? [] : [{ id, title, body: `${note(text)}${figures(list)}` }];
  const { differences } = parts;
  return [
    { id: 'comparison', title: 'Comparison', body: comparison(parts) },
    ...optional(
      differences?.figures ?? [],
      'differences',
      `${differences?.of.label} against the others`,
      `${differences?.of.label} minus each other student on the same prompts, with the 95 % interval of the difference: one that keeps clear of zero is a clear difference.`,
    ),
    { id: 'hacking', title: 'Reward hacking', body: hacking(entries) },
    ...optional(
      parts.distributions,
      'distributions',
      'Lengths and rewards',
      'Over all samples of the evaluation. The reward of a token is ln p − ln q, the teacher’s minus the student’s log-probability; what lies below −6 or above 2 nats is counted in the outermost bin.',
    ),
    ...optional(
      parts.exposure,
      'exposure',
      'Exposure bias',
      'How much worse a student does on its own words than on the teacher’s: the mean forward KL over the first l tokens of its own samples, in excess of that on the teacher’s samples. Flat is good. Bands are one standard error; the curves end where fewer than one in twenty of the teacher’s samples go on.',
    ),
    ...optional(
      parts.calibration,
      'calibration',
      'Calibration',
      `How often the likeliest token (or answer) is right, by the probability that the model gives it, in ten bins; those of fewer than ${fewestPredictions} predictions are left out. Below the diagonal a model is too sure of itself.`,
    ),
    { id: 'curves', title: 'Learning curves', body: learningCurves(parts) },
    ...(parts.variance.length > 0
      ? [{ id: 'variance', title: 'Variance of the gradient', body: variance(parts) }]
      : []),
    { id: 'samples', title: 'Samples', body: sampleBrowser(entries, colors) },
    {
      id: 'configuration',
      title: 'Environment and configuration',
      body: `${notesOf(runs)}${configurationSection(runs)}`,
    },
  ];
}

function note(text: string): string {
  return `<p class="note">${escapeHtml(text)}</p>`;
}

function figureGrid(list: readonly Figure[], { filesFolder, fileOf }: PageParts, wide = false): string {
  const file = (figure: Figure, ending: string): string =>
    escapeHtml(`${encodeURIComponent(filesFolder)}/${fileOf.get(figure)}.${ending}`);
  const one = (figure: Figure): string =>
    `<figure${wide ? ' class="wide"' : ''}>${wide ? `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(figure.title)}">${figure.svg}</div>` : figure.svg}
<figcaption><a href="${file(figure, 'svg')}" aria-label="${escapeHtml(figure.title)} as SVG">SVG</a> <a href="${file(figure, 'csv')}" aria-label="${escapeHtml(figure.title)} as CSV">CSV</a></figcaption></figure>`;
  return `<div class="${wide ? 'stack' : 'figures'}">${list.map(one).join('\n')}</div>`;
}

function comparison(parts: PageParts): string {
  const { runs, entries, colors, comparison: figures } = parts;
  if (runs.every((run) => Object.keys(run.evaluation).length === 0)) {
    return '<p class="absent">No run has been evaluated yet: there is no evaluation.json.</p>';
  }
  const several = entries.some((entry) => entry.runs.length > 1);
  const all = comparisonTable(entries, colors, 'All metrics', (name) => boldEntries(name, entries));
  const each = several
    ? `<details><summary>Every run (${runs.length})</summary>${everyRun(parts)}</details>`
    : '';
  return `${cards(entries, colors)}${rankTable(entries, colors)}
${note(`A number and its 95 % interval. ↑ higher and ↓ lower is better, ≈ best near the teacher. Bold: the best student and those not clearly behind it, where any is clearly behind. A click on a head sorts.`)}
${note(intervalRule)}
<details><summary>All metrics</summary>${all}</details>${each}
${figures.length > 0 ? figureGrid(figures, parts) + note('Dots are means, lines 95 % intervals, the dashed line is the teacher.') : ''}`;
}

/** Nothing in bold: a choice between runs of one method is a choice of seeds. */
function everyRun({ entries, colors }: PageParts): string {
  const single = new Map(
    entries.flatMap((entry) =>
      entry.runs.map((run): [Entry, number] => [{ ...run, runs: [run] }, colors.get(entry)!]),
    ),
  );
  return comparisonTable([...single.keys()], single, 'Every run', () => new Set());
}

function hacking(entries: readonly Entry[]): string {
  const { warnings, checked } = findRewardHacking(entries);
  const notices = warnings
    .map((line) => `<p class="warning" role="note"><b>Look closer.</b> ${escapeHtml(line)}</p>`)
    .join('\n');
  const calm =
    warnings.length === 0 && checked.startsWith('Compared') ? '<p>No sign of reward hacking.</p>' : '';
  return `${note('Reverse KL is a sum over tokens: a student can lower it by saying less, repeating itself or not ending. A notice appears where reverse KL falls while length, endings, repetition, empty answers or diversity leave the teacher’s.')}
${notices}${calm}${note(checked)}`;
}

function learningCurves(parts: PageParts): string {
  if (parts.curves.length === 0)
    return '<p class="absent">Nothing was logged: there is no metrics.jsonl with numbers in it.</p>';
  return parts.curves
    .map(({ title, explanation, figures: drawn, folded }) => {
      const body = `${note(explanation)}${figureGrid(drawn, parts)}`;
      return folded
        ? `<details><summary>${escapeHtml(title)} (${drawn.length})</summary>${body}</details>`
        : `<h3>${escapeHtml(title)}</h3>${body}`;
    })
    .join('\n');
}

function variance(parts: PageParts): string {
  return `${note('The fewer rollouts an estimator of the gradient needs, the less a step costs. docs/variance.md and docs/oracle.md of the package say what the names mean.')}
${parts.variance.map(({ source, figure }) => `${figureGrid([figure], parts, true)}${note(`From ${source}.`)}`).join('\n')}`;
}

function notesOf(runs: readonly Run[]): string {
  const notes = runs.flatMap((run) =>
    run.notes.map((line) => `<li>${escapeHtml(run.label)}: ${escapeHtml(line)}</li>`),
  );
  return notes.length > 0 ? `<h3>Notes</h3><ul class="note">${notes.join('')}</ul>` : '';
}
