import type { Entry } from './entries.js';
import { escapeHtml } from './escape.js';
import { facts, teacherSize } from './facts.js';
import { magnitude } from './format.js';
import { joined, outcome } from './headline.js';
import { pageScript } from './script.js';
import { type PageParts, sectionsOf } from './sections.js';
import { pageStyle } from './style.js';

/** The whole report as one HTML document: style, script, figures and data inside it, nothing to load. */
export function page(parts: PageParts): string {
  const { entries } = parts;
  const title = titleOf(entries);
  const sections = sectionsOf(parts);
  const came = outcome(entries);
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
<p class="lead">${escapeHtml(leadOf(entries))}</p>
${came.length > 0 ? `<ul class="outcome">${came.map((line) => `<li>${escapeHtml(line)}</li>`).join('')}</ul>\n` : ''}<dl class="facts">${facts(
    entries,
  )
    .map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`)
    .join('')}</dl>
<nav aria-label="Sections">${sections.map(({ id, title: name }) => `<a href="#${id}">${escapeHtml(name)}</a>`).join('')}</nav>
</header>
<main>
${sections.map(({ id, title: name, body }) => `<section id="${id}"><h2>${escapeHtml(name)}</h2>\n${body}</section>`).join('\n')}
</main>
<footer>Figures as SVG and their numbers as CSV are in ${escapeHtml(parts.filesFolder)}/ beside this page. Made by minillm-rl.</footer>
<script>${pageScript}</script>
</body>
</html>
`;
}

function titleOf(entries: readonly Entry[]): string {
  const students = entries.filter((entry) => !entry.isTeacher);
  if (students.length === 0) return `Evaluation of ${entries.map((entry) => entry.label).join(', ')}`;
  if (students.length > 5) return `Distillation: ${students.length} students compared`;
  return `Distillation with ${joined(students.map((entry) => entry.label))}`;
}

function leadOf(entries: readonly Entry[]): string {
  const students = entries.filter((entry) => !entry.isTeacher);
  const runs = students.reduce((sum, entry) => sum + entry.runs.length, 0);
  const seeds = runs > students.length ? ` from ${runs} training runs` : '';
  const teacher = entries.some((entry) => entry.isTeacher);
  const evaluated = entries.filter((entry) => Object.keys(entry.evaluation).length > 0);
  const sets = new Set(evaluated.map((entry) => entry.evaluated.promptSet ?? entry.evaluated.data ?? ''));
  const sizes = new Set(students.map(({ parameters }) => parameters));
  const [own] = sizes.size === 1 ? [...sizes] : [null];
  const large = teacherSize(entries);
  const what = `${students.length} student${students.length === 1 ? '' : 's'}${seeds}${own ? ` of ${magnitude(own)} parameters` : ''}${teacher ? ' and their teacher' : ''}${teacher && large ? ` of ${magnitude(large)}` : ''}`;
  if (evaluated.length < 2) return `${what}.`;
  const prompts = evaluated[0]!.evaluated.prompts;
  return sets.size === 1
    ? `${what}, evaluated on the same ${prompts ? `${prompts} ` : ''}prompts.`
    : `${what}. Careful: they were evaluated on ${sets.size} different sets of prompts.`;
}
