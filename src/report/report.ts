import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { makeDirectory, writeAtomicallySync } from '../durable.js';
import { UsageError } from '../errors.js';
import { comparisonFigures } from './comparisonFigures.js';
import { comparisonCsv } from './comparisonTable.js';
import { differences } from './differences.js';
import { entriesOf } from './entries.js';
import { calibrationFigures, distributionFigures, exposureFigures } from './evaluationCurves.js';
import { type Figure, standaloneSvg } from './figure.js';
import { learningCurves } from './learningCurves.js';
import { page } from './page.js';
import { assignColors } from './palette.js';
import { loadRuns, type Run } from './runs.js';
import { readVariance, type VarianceSection } from './varianceFile.js';

export interface WrittenReport {
  /** The page. */
  out: string;
  /** SVG and CSV files beside it. */
  files: string[];
  /** Labels of what is compared in it: runs, or runs that differ in their seed as one. */
  runs: string[];
  /** What was missing or damaged, each line beginning with the run. */
  notes: string[];
}

/**
 * Writes the report of one or more runs: a page that stands alone, and `<page name>-files/` with every figure as SVG
 * and CSV and with the comparison as CSV. The same run directories give the same bytes.
 *
 * @param varianceFiles of `minillm variance` or `minillm oracle`, beside those that lie in the run directories
 * @throws UsageError if a path holds no run, or the page cannot be written there.
 */
export function writeReport(
  directories: readonly string[],
  out: string,
  varianceFiles: readonly string[] = [],
): WrittenReport {
  if (directories.length === 0)
    throw new UsageError(
      'report: no run directory given; expected at least one, e.g. minillm report runs/quickstart',
    );
  const runs = loadRuns(directories);
  const variance = varianceSections(runs, directories, varianceFiles);
  if (existsSync(out) && statSync(out).isDirectory()) {
    throw new UsageError(
      `--out ${out}: is a directory; expected a file name such as ${path.join(out, 'report.html')}`,
    );
  }
  const entries = entriesOf(runs);
  const colors = assignColors(entries);
  const parts = {
    ...{ runs, entries, colors, variance },
    comparison: comparisonFigures(entries, colors),
    differences: differences(entries, colors),
    distributions: distributionFigures(entries, colors),
    exposure: exposureFigures(entries, colors),
    calibration: calibrationFigures(entries, colors),
    curves: learningCurves(entries, colors),
  };
  const fileOf = fileNames([
    ...parts.comparison,
    ...(parts.differences?.figures ?? []),
    ...parts.distributions,
    ...parts.exposure,
    ...parts.calibration,
    ...parts.curves.flatMap((group) => group.figures),
    ...variance.map(({ figure }) => figure),
  ]);
  const folder = `${out.replace(/\.html?$/i, '')}-files`;
  const html = page({ ...parts, filesFolder: path.basename(folder), fileOf });
  const files = new Map<string, string>();
  if (runs.some((run) => Object.keys(run.evaluation).length > 0))
    files.set('comparison.csv', comparisonCsv(runs));
  for (const [figure, name] of fileOf) {
    files.set(`${name}.svg`, standaloneSvg(figure.svg));
    files.set(`${name}.csv`, figure.csv);
  }
  try {
    makeDirectory(folder);
    for (const [name, text] of files) writeAtomicallySync(path.join(folder, name), text);
    writeAtomicallySync(out, html);
  } catch (error) {
    throw new UsageError(
      `--out ${out}: cannot be written (${(error as NodeJS.ErrnoException).code}); give a path in a writable directory`,
    );
  }
  return {
    out,
    files: [...files.keys()].map((name) => path.join(folder, name)),
    runs: entries.map((entry) => entry.label),
    notes: runs.flatMap((run) => run.notes.map((note) => `${run.label}: ${note}`)),
  };
}

/** Figure names may contain what a run logged, so they are cut down to safe letters, each used once. */
function fileNames(figures: readonly Figure[]): Map<Figure, string> {
  const names = new Map<Figure, string>();
  const taken = new Set(['comparison']);
  for (const figure of figures) {
    const safe = figure.name.replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 80);
    let name = safe;
    for (let i = 2; taken.has(name); i++) name = `${safe}-${i}`;
    taken.add(name);
    names.set(figure, name);
  }
  return names;
}

/** What was asked for must be there; what lies in a run directory, or where its runs lie, is taken along. */
function varianceSections(
  runs: readonly Run[],
  directories: readonly string[],
  asked: readonly string[],
): VarianceSection[] {
  const places = new Set([...directories.map((d) => path.resolve(d)), ...runs.map((run) => run.directory)]);
  const lying = [...places].flatMap((place) => {
    try {
      return readVariance(path.join(place, 'variance.json')) ?? [];
    } catch (error) {
      runs[0]!.notes.push((error as Error).message);
      return [];
    }
  });
  const given = asked.map((file) => {
    const section = readVariance(file);
    if (!section) throw new UsageError(`--variance ${file}: no such file`);
    return section;
  });
  return [...given, ...lying];
}
