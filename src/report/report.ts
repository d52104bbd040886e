import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { UsageError } from '../errors.js';
import { comparisonFigures } from './comparisonFigures.js';
import { comparisonCsv } from './comparisonTable.js';
import { type Figure, standaloneSvg } from './figure.js';
import { learningCurves } from './learningCurves.js';
import { page } from './page.js';
import { assignColors } from './palette.js';
import { loadRuns, type Run } from './runs.js';

export interface WrittenReport {
  /** The page. */
  out: string;
  /** SVG and CSV files beside it. */
  files: string[];
  /** Labels of the runs in it. */
  runs: string[];
  /** What was missing or damaged, each line beginning with the run. */
  notes: string[];
}

/**
 * Writes the report of one or more runs: a page that stands alone, and `<page name>-files/` with every figure as SVG
 * and CSV and with the comparison as CSV. The same run directories give the same bytes.
 * @throws UsageError if a path holds no run, or the page cannot be written there.
 */
export function writeReport(directories: readonly string[], out: string): WrittenReport {
  if (directories.length === 0)
    throw new UsageError(
      'report: no run directory given; expected at least one, e.g. minillm report runs/quickstart',
    );
  const runs = teacherFirst(loadRuns(directories));
  if (existsSync(out) && statSync(out).isDirectory()) {
    throw new UsageError(
      `--out ${out}: is a directory; expected a file name such as ${path.join(out, 'report.html')}`,
    );
  }
  const colors = assignColors(runs);
  const comparison = comparisonFigures(runs, colors);
  const curves = learningCurves(runs, colors);
  const folder = `${out.replace(/\.html?$/i, '')}-files`;
  const html = page({ runs, colors, comparison, curves, filesFolder: path.basename(folder) });
  const files = filesOf(runs, [...comparison, ...curves.flatMap((group) => group.figures)]);
  try {
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of files) writeFileSync(path.join(folder, name), text);
    writeFileSync(out, html);
  } catch (error) {
    throw new UsageError(
      `--out ${out}: cannot be written (${(error as NodeJS.ErrnoException).code}); give a path in a writable directory`,
    );
  }
  return {
    out,
    files: [...files.keys()].map((name) => path.join(folder, name)),
    runs: runs.map((run) => run.label),
    notes: runs.flatMap((run) => run.notes.map((note) => `${run.label}: ${note}`)),
  };
}

/** The teacher is what all others are compared with: first column, first dot, first sample. */
function teacherFirst(runs: readonly Run[]): Run[] {
  return [...runs.filter((run) => run.isTeacher), ...runs.filter((run) => !run.isTeacher)];
}

/** File name to content. Figure names may contain what a run logged, so they are cut down to safe letters. */
function filesOf(runs: readonly Run[], figures: readonly Figure[]): Map<string, string> {
  const files = new Map<string, string>();
  if (runs.some((run) => Object.keys(run.evaluation).length > 0))
    files.set('comparison.csv', comparisonCsv(runs));
  for (const figure of figures) {
    const safe = figure.name.replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 80);
    let name = safe;
    for (let i = 2; files.has(`${name}.csv`); i++) name = `${safe}-${i}`;
    files.set(`${name}.svg`, standaloneSvg(figure.svg));
    files.set(`${name}.csv`, figure.csv);
  }
  return files;
}
