import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { UsageError } from '../errors.js';
import { saveModel } from '../models/checkpoint.js';
import { initBackend } from '../tensor/backend.js';
import { disposeParams } from '../tensor/params.js';
import { loadTokenizer } from '../text/tokenizer.js';
import { writeDirectoryAtomic, writeFileAtomic } from './atomic.js';
import { newStudent } from './materials.js';
import type { Sweep, SweepRun } from './sweepConfig.js';

/**
 * The runs of a sweep, all from one student: a shape would be drawn anew with every seed, so one is drawn from the first run's
 * seed and saved in OUT/student.
 *
 * @throws UsageError when OUT holds a student of another shape or seed
 */
export async function withOneStudent(sweep: Sweep, out: string): Promise<SweepRun[]> {
  const { student: shape, seed } = sweep.runs[0]!.config;
  if (typeof shape === 'string' || sweep.perStudent) return sweep.runs;
  const directory = join(out, 'student');
  const record = join(out, 'configs', 'student.yaml');
  const wanted = stringify({ student: shape, seed });
  if (existsSync(join(directory, 'config.json'))) {
    if ((await readFile(record, 'utf8').catch(() => '')) !== wanted) {
      throw new UsageError(
        `${directory}: was drawn from another shape or seed; use another --out, or delete it`,
      );
    }
  } else {
    // Plain JavaScript: the same bytes on every machine.
    await initBackend({ backend: 'cpu' });
    const student = newStudent(shape, await loadTokenizer(shape.tokenizer), seed);
    await writeFileAtomic(record, wanted);
    await writeDirectoryAtomic(directory, (temporary) =>
      saveModel(temporary, student, { dtype: 'f32', tokenizerFrom: shape.tokenizer }),
    );
    disposeParams(student.params);
  }
  return sweep.runs.map((run) => ({ ...run, config: { ...run.config, student: directory } }));
}
