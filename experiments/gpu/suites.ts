import { type File, startTests, type Task, type VitestRunner } from '@vitest/runner';
import { oneLine, verdict } from './rows.js';

/** The project's own suites: the very files that `npm test` runs on the emulator. On a card they run in float32. */
const files: Record<string, () => Promise<unknown>> = {
  operations: () => import('../../test/tensor/ops.cuda.test.js'),
  divergences: () => import('../../test/tensor/divergences.cuda.test.js'),
  'draws (chi-square)': () => import('../../test/rollout/chiSquare.cuda.test.js'),
  'models against transformers': () => import('../../test/models/parity.cuda.test.js'),
  'key/value cache': () => import('../../test/models/cache.cuda.test.js'),
  'gradient checkpointing': () => import('../../test/models/recompute.cuda.test.js'),
  rollouts: () => import('../../test/rollout/rollout.cuda.test.js'),
  'MiniLLM loss against the oracle': () => import('../../test/oracle/loss.cuda.test.js'),
  'the official numbers': () => import('../../test/training/inspect.cuda.test.js'),
  'value head': () => import('../../test/training/valueHead.cuda.test.js'),
  'memory over rounds': () => import('../../test/training/memory.cuda.test.js'),
  'training methods': () => import('../../test/training/methods.cuda.test.js'),
};

/** The part `suites`: a row a suite. Only those named, where names are given. */
export async function suites(names: readonly string[]): Promise<void> {
  if (!process.env.MINILLM_CUDA_EMULATOR) process.env.MINILLM_TEST_CARD = '1';
  for (const name of names.length > 0 ? names : Object.keys(files)) {
    const [file] = await startTests([name], runner);
    const tests = file ? testsOf(file) : [];
    const count = (state: string): number => tests.filter(({ result }) => result?.state === state).length;
    const [passed, failed] = [count('pass'), count('fail')];
    const wrong = [file, ...tests].find((task) => task?.result?.errors?.length);
    const why = wrong ? `; ${wrong.name}: ${oneLine(wrong.result!.errors![0]!.message)}` : '';
    const skipped = tests.length - passed - failed;
    const left = skipped > 0 ? `, ${skipped} skipped` : '';
    verdict(name, passed > 0 && !wrong, `${passed} passed, ${failed} failed${left}${why}`);
  }
}

const runner: VitestRunner = {
  config: {
    root: '/',
    setupFiles: [],
    name: undefined,
    passWithNoTests: false,
    testNamePattern: undefined,
    allowOnly: true,
    sequence: { seed: 1, hooks: 'stack', setupFiles: 'list' },
    chaiConfig: undefined,
    maxConcurrency: 1,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    retry: 0,
    includeTaskLocation: false,
    tags: [],
    tagsFilter: undefined,
    strictTags: false,
  },
  async importFile(name) {
    const load = files[name];
    if (!load) throw new Error(`no suite ${name}: one of ${Object.keys(files).join(', ')} expected`);
    await load();
  },
};

function testsOf(task: File | Task): Task[] {
  return 'tasks' in task ? task.tasks.flatMap(testsOf) : [task];
}
