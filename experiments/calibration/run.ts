/**
 * calibration: accuracy and calibration error of the answers, and of the token.
 *
 *     node experiments/calibration/run.ts OUT TABLE1
 *
 * Measures teacher and students of TABLE1/small on OUT/rows.jsonl; writes OUT/calibration.csv and reliability.svg.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pooledBins } from '../../src/report/entries.js';
import { csv } from '../../src/report/escape.js';
import { standaloneSvg } from '../../src/report/figure.js';
import { type Line, linePanel } from '../../src/report/linePanel.js';
import { lineColor } from '../../src/report/palette.js';
import { displayName } from '../../src/report/runs.js';
import { measureAgain } from '../measureAgain.js';
import { bySeeds, meansAndErrors, readMeasurement, readSweepStudents, type Student } from '../students.js';

const [out, table1] = process.argv.slice(2) as [string, string];
const place = (name: string): string => join(out, 'students', name);
const teacher = { name: 'teacher', directory: join(table1, 'teacher', 'best') };
await measureAgain([teacher, ...readSweepStudents(join(table1, 'small'))], {
  place,
  data: join(out, 'rows.jsonl'),
  metrics: 'answer_accuracy,answer_ece,ece',
});
const students = readSweepStudents(join(table1, 'small'), place);
const own: Student = {
  ...readMeasurement(place('teacher')),
  ...teacher,
  fields: {},
  steps: 0,
  trainSeconds: 0,
};
const groups: [string, Student[]][] = [['teacher', [own]], ...bySeeds(students)];
const metrics = ['answer_accuracy', 'answer_ece', 'ece'];
writeFileSync(
  join(out, 'calibration.csv'),
  csv(
    ['method', 'runs', ...metrics.flatMap((name) => [name, 'stderr'])],
    groups.map(([method, runs]) => [...[method, runs.length], ...meansAndErrors(runs, metrics)]),
  ),
);
const colors = new Map(['teacher', 'minillm', 'kd', 'sft', 'seqkd'].map((name, i) => [name, i]));
const lines = groups.flatMap(([method, runs]): Line[] => {
  const color = colors.get(method);
  if (color === undefined) return [];
  const points = pooledBins(runs.flatMap(({ curves }) => curves.answerCalibration ?? []))
    .filter(({ count }) => count >= 20)
    .map(({ confidence: x, accuracy: mean }) => ({ x, mean, low: mean, high: mean }));
  const { stroke, dashed } = lineColor(color);
  return points.length > 1 ? [{ label: displayName(method), color: stroke, dashed, points, dots: true }] : [];
});
const figure = linePanel(lines, {
  ...{
    name: 'reliability',
    title: 'Accuracy of the answer',
    xLabel: 'its probability',
    csv: '',
    unitSquare: true,
  },
});
writeFileSync(join(out, 'reliability.svg'), standaloneSvg(figure.svg));
