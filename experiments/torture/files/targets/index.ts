import type { Target } from '../target.js';
import { configurationTargets } from './configurations.js';
import { dataTargets } from './data.js';
import { memoryTargets } from './memory.js';
import { modelTargets } from './models.js';
import { runTargets } from './runs.js';
import { teacherTargets } from './teachers.js';
import { textTargets } from './texts.js';

export const targets: readonly Target[] = [
  ...memoryTargets,
  ...modelTargets,
  ...textTargets,
  ...dataTargets,
  ...configurationTargets,
  ...runTargets,
  ...teacherTargets,
];
