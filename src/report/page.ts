import { metricInfo } from './catalog.js';
import { bestRuns, comparisonTable } from './comparisonTable.js';
import { configurationSection, facts } from './configuration.js';
import { escapeHtml } from './escape.js';
import type { Figure } from './figure.js';
import { decimalsFor, fixed } from './format.js';
import type { CurveGroup } from './learningCurves.js';
import { colorVariable } from './palette.js';
import { findRewardHacking } from './rewardHacking.js';
import type { Run } from './runs.js';
import { sampleBrowser } from './samples.js';
import { pageScript } from './script.js';
import { pageStyle } from './style.js';

export interface PageParts {
  runs: readonly Run[];
  colors: ReadonlyMap<Run, number>;
  comparison: readonly Figure[];
  curves: readonly CurveGroup[];
  /** Name of the folder with the figures, as the page mentions it. */
  filesFolder: string;
}

/** The whole report as one HTML document: style, script, figures and data inside it, nothing to load. */
export function page(parts: PageParts): string {
  const { runs, colors } = parts;
  const title = titleOf(runs);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>${escapeHtml(title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<header>
<div class="top"><h1>${escapeHtml(title)}</h1><button type="button" id="theme" aria-label="Switch between light and dark" hidden></button></div>
<p class="lead">${escapeHtml(leadOf(runs))}</p>
<dl class="facts">${facts(runs)
    .map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`)
    .join('')}</dl>
<nav aria-label="Sections"><a href="#comparison">Comparison</a><a href="#hacking">Reward hacking</a><a href="#curves">Learning curves</a><a href="#samples">Samples</a><a href="#configuration">Environment and configuration</a></nav>
</header>
<main>
<section id="comparison"><h2>Comparison</h2>
${comparisonSection(parts)}</section>
<section id="hacking"><h2>Reward hacking</h2>
${hackingSection(runs)}</section>
<section id="curves"><h2>Learning curves</h2>
${curvesSection(parts.curves)}</section>
<section id="samples"><h2>Samples</h2>
${sampleBrowser(runs, colors)}</section>
<section id="configuration"><h2>Environment and configuration</h2>
${notesOf(runs)}${configurationSection(runs)}</section>
</main>
<footer>Figures as SVG and their numbers as CSV are in ${escapeHtml(parts.filesFolder)}/ beside this page. Made by minillm-rl.</footer>
<script>${pageScript}</script>
</body>
</html>
`;
}

function titleOf(runs: readonly Run[]): string {
  const students = runs.filter((run) => !run.isTeacher);
  if (students.length === 0) return `Evaluation of ${runs.map((run) => run.label).join(', ')}`;
  if (students.length > 5) return `Distillation: ${students.length} students compared`;
  return `Distillation with ${list(students.map((run) => run.label))}`;
}

function list(items: readonly string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}

function leadOf(runs: readonly Run[]): string {
  const students = runs.filter((run) => !run.isTeacher).length;
  const teacher = runs.some((run) => run.isTeacher);
  const evaluated = runs.filter((run) => Object.keys(run.evaluation).length > 0).length;
  const what = `${students} student${students === 1 ? '' : 's'}${teacher ? ' and their teacher' : ''}`;
  return evaluated > 1 ? `${what}, evaluated on the same prompts.` : `${what}.`;
}

function figures(list: readonly Figure[]): string {
  return `<div class="figures">${list.map((one) => `<figure>${one.svg}</figure>`).join('\n')}</div>`;
}

function comparisonSection({ runs, colors, comparison }: PageParts): string {
  if (runs.every((run) => Object.keys(run.evaluation).length === 0)) {
    return '<p class="absent">No run has been evaluated yet: there is no evaluation.json.</p>';
  }
  const note = `<p class="note">Mean ± standard error; the tooltip of a number has its n and its interval.
↑ higher and ↓ lower is better, ≈ best near the teacher. Bold: the best student, and those within two standard errors of it.
The errors are those of sampling and of the choice of prompts; one training run says nothing about the noise of training.</p>`;
  const intervals = `<p class="note">Dots are means, lines 95 % intervals, the dashed line is the teacher.</p>`;
  return `${headlines(runs, colors)}${comparisonTable(runs, colors)}${note}${comparison.length > 0 ? figures(comparison) + intervals : ''}`;
}

/** The best student by the main metrics, in large print; nothing without a choice between students. */
function headlines(runs: readonly Run[], colors: ReadonlyMap<Run, number>): string {
  const cards = ['rouge_l_sampled', 'rouge_l_greedy', 'reverse_kl_token', 'forward_kl_token'].flatMap(
    (name) => {
      const best = bestRuns(name, runs);
      if (best.size === 0) return [];
      const { label, better, unit } = metricInfo(name);
      const sign = better === 'higher' ? 1 : -1;
      const ranked = [...best].sort((a, b) => sign * (b.evaluation[name]!.mean - a.evaluation[name]!.mean));
      const winner = ranked[0]!;
      const { mean, stderr } = winner.evaluation[name]!;
      const decimals = decimalsFor(stderr ?? 0);
      const teacher = runs.find((run) => run.isTeacher)?.evaluation[name];
      const others =
        ranked.length > 1 ? `, not clearly ahead of ${list(ranked.slice(1).map((run) => run.label))}` : '';
      return [
        `<div class="card"><p>${better === 'higher' ? 'Highest' : 'Lowest'} ${escapeHtml(label.replace(/^(Reverse|Forward)/, (word) => word.toLowerCase()))}${unit && `, ${escapeHtml(unit)}`}</p>
<p class="value">${fixed(mean, decimals)}${stderr === null ? '' : ` <small>± ${fixed(stderr, decimals)}</small>`}</p>
<p><span class="who" style="color:${colorVariable(colors.get(winner)!)}">${escapeHtml(winner.label)}</span>${escapeHtml(others)}${teacher ? `; teacher ${fixed(teacher.mean, decimals)}` : ''}</p></div>`,
      ];
    },
  );
  return cards.length > 0 ? `<div class="cards">${cards.join('')}</div>` : '';
}

function hackingSection(runs: readonly Run[]): string {
  const { warnings, checked } = findRewardHacking(runs);
  const notices = warnings
    .map((line) => `<p class="warning" role="note"><b>Look closer.</b> ${escapeHtml(line)}</p>`)
    .join('\n');
  const calm =
    warnings.length === 0 && checked.startsWith('Compared') ? '<p>No sign of reward hacking.</p>' : '';
  return `<p class="note">Reverse KL is a sum over tokens: a student can lower it by saying less, repeating itself or not ending.
A notice appears where reverse KL falls while length, endings, repetition, empty answers or diversity leave the teacher’s.</p>
${notices}${calm}<p class="note">${escapeHtml(checked)}</p>`;
}

function curvesSection(groups: readonly CurveGroup[]): string {
  if (groups.length === 0)
    return '<p class="absent">Nothing was logged: there is no metrics.jsonl with numbers in it.</p>';
  return groups
    .map(({ title, explanation, figures: drawn, folded }) => {
      const body = `<p class="note">${escapeHtml(explanation)}</p>${figures(drawn)}`;
      return folded
        ? `<details><summary>${escapeHtml(title)} (${drawn.length})</summary>${body}</details>`
        : `<h3>${escapeHtml(title)}</h3>${body}`;
    })
    .join('\n');
}

function notesOf(runs: readonly Run[]): string {
  const notes = runs.flatMap((run) =>
    run.notes.map((note) => `<li>${escapeHtml(run.label)}: ${escapeHtml(note)}</li>`),
  );
  return notes.length > 0 ? `<h3>Notes</h3><ul class="note">${notes.join('')}</ul>` : '';
}
