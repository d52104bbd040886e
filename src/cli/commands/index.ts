import type { Command } from 'commander';
import { benchCommand } from './bench.js';
import { cacheTeacherCommand } from './cacheTeacher.js';
import { dataCommand } from './data.js';
import { doctorCommand } from './doctor.js';
import { evalCommand } from './eval.js';
import { exportCommand } from './export.js';
import { generateCommand } from './generate.js';
import { inspectCommand } from './inspect.js';
import { oracleCommand } from './oracle.js';
import { planCommand } from './plan.js';
import { quickstartCommand } from './quickstart.js';
import { reportCommand } from './report.js';
import { scoreCommand } from './score.js';
import { serveCommand } from './serve.js';
import { setupCommand } from './setup.js';
import { sweepCommand } from './sweep.js';
import { tokenizerCommand } from './tokenizer.js';
import { trainCommand } from './train.js';
import { varianceCommand } from './variance.js';

/** Every command of the program, in the order of `--help`. A command file imports heavy modules only in its action. */
export const commands: (() => Command)[] = [
  quickstartCommand,
  doctorCommand,
  setupCommand,
  dataCommand,
  tokenizerCommand,
  planCommand,
  cacheTeacherCommand,
  trainCommand,
  sweepCommand,
  evalCommand,
  generateCommand,
  scoreCommand,
  serveCommand,
  exportCommand,
  inspectCommand,
  oracleCommand,
  varianceCommand,
  reportCommand,
  benchCommand,
];
