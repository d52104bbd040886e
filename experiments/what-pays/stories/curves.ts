/**
 * How errors gather over 128 tokens: `node experiments/what-pays/stories/curves.ts OUT SWEEP`. Of a sweep whose `evaluate` asked for
 * `ex_acc_err` it writes OUT/stories-exposure.csv and stories-exposure.svg, a line for each of its groups of training seeds.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { standaloneSvg } from '../../../src/report/figure.js';
import { exposurePanel } from '../../exposureCurves.js';
import { bySeeds, readSweepStudents } from '../../students.js';

const [out, sweep] = process.argv.slice(2) as [string, string];
mkdirSync(out, { recursive: true });
const groups = [...bySeeds(readSweepStudents(sweep))];
/** As many as can be told apart. */
const drawn = ['future', 'gold-single', 'single', 'normed', 'gamma-0.9'];
const shown = new Map(drawn.map((name, i) => [name, 1 + i]));
const { svg, csv } = exposurePanel(groups, { longest: 128, shown });
writeFileSync(join(out, 'stories-exposure.csv'), csv);
writeFileSync(join(out, 'stories-exposure.svg'), standaloneSvg(svg));
