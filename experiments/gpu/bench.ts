import { median } from '../../src/bench/measure.js';
import { precisions } from '../../src/tensor/backend.js';
import { type BenchRow, benchRows, tiny } from './benchRows.js';
import { oneLine, type Row } from './rows.js';
import { type Answer, ownProcess, torchProcess, type Worker } from './worker.js';

export interface BenchSettings {
  emulated: boolean;
  /** By `performance.now()`. */
  deadline: number;
  python: string;
  onRow(row: Row): void;
}

/** Seconds for a process to begin and to warm up (`torch.compile` is the slowest), and for a turn. */
const [START_S, PREPARE_S, TURN_S] = [60, 120, 60];

/** One of those who take turns. */
interface Side {
  name: string;
  worker: Worker;
  turns: Answer[];
  trouble?: string;
}

/**
 * The benchmark: for each row our process and PyTorch's take turns on the card, and medians are compared. A row that does not fit in memory or in time
 * says so; a side that fails leaves the others.
 */
export async function benchmark({ emulated, deadline, python, onRow }: BenchSettings): Promise<void> {
  const left = (): number => (deadline - performance.now()) / 1000;
  for (const given of benchRows) {
    const row = emulated ? tiny(given) : given;
    const say = (state: Row['state'], note: string, what = given.what): void =>
      onRow({ part: 'benchmark', what, state, note: oneLine(note) });
    if (!(precisions as readonly string[]).includes(row.ours.precision)) {
      say('skipped', `the engine has no ${row.ours.precision}`);
      continue;
    }
    if (left() < row.needs) {
      say('skipped', `no time left: it needs about ${row.needs} s`);
      continue;
    }
    const [ours, ...theirs] = (await measured(row, python, left)) as [Side, ...Side[]];
    if (ours.turns.length === 0) {
      const missing = /memory|no time left|no answer after/.test(ours.trouble!);
      say(missing ? 'skipped' : 'FAILED', ours.trouble!);
    } else if (emulated) {
      say('skipped', 'ran at a tiny size; there is no card to time');
    } else {
      for (const { what, note, compared } of comparisons(row, ours, theirs))
        say(compared ? 'measured' : 'skipped', note, what);
    }
  }
}

/** All sides begin and warm up together, then take turns. */
async function measured(row: BenchRow, python: string, left: () => number): Promise<Side[]> {
  const works = [row.ours.work, ...row.theirs.map(({ work }) => work)];
  const sides = works.map((_, i): Side => {
    const name = row.theirs[i - 1]?.name ?? 'ours';
    const script = name === 'strong' ? 'torch_strong.py' : 'torch_common.py';
    return { name, worker: i === 0 ? ownProcess('work') : torchProcess(python, script), turns: [] };
  });
  try {
    await Promise.all(
      sides.map(async (side, i) => {
        const hello = await side.worker.answer(Math.min(START_S, left()));
        const blind = i > 0 && !hello.error && !hello.cuda ? 'PyTorch sees no card' : undefined;
        const request = { do: 'prepare', ...row.ours, work: works[i], ...(i > 0 && { device: 'cuda' }) };
        side.trouble = (hello.error ??
          blind ??
          (await side.worker.ask(request, Math.min(PREPARE_S, left()))).error)!;
      }),
    );
    for (let turn = 0; turn < row.turns; turn++)
      for (const side of sides) {
        if (side.trouble) continue;
        const answer =
          left() < 1
            ? { error: 'no time left' }
            : await side.worker.ask({ do: 'turn' }, Math.min(TURN_S, left()));
        if (answer.error) side.trouble = answer.error;
        else side.turns.push(answer);
      }
    return sides;
  } finally {
    for (const { worker } of sides) worker.kill();
  }
}

/** A line for each that ours is compared with. */
function comparisons(row: BenchRow, ours: Side, theirs: readonly Side[]) {
  const own = `ours ${time(ours)}, peak ${peak(ours).toFixed(1)} GB`;
  if (theirs.length === 0) return [{ what: row.what, note: own, compared: true }];
  return theirs.map((side, i) => {
    const { name, target } = row.theirs[i]!;
    const what = `${row.what}: ${name}`;
    if (side.turns.length === 0)
      return { what, note: `${own}; ${name}: ${side.trouble}`, compared: name === 'ceilings' };
    if (row.utilisation) {
      const rate = row.utilisation.flops / seconds(ours) / 1e12;
      const most = Number(side.turns[0]!.bfloat16);
      const share = ((100 * rate) / most).toFixed(0);
      const asked = (100 * row.utilisation.target).toFixed(0);
      return {
        what,
        note: `**${share} %** (target >= ${asked} %): ${rate.toFixed(0)} of ${most.toFixed(0)} TFLOP/s; ${own}`,
        compared: true,
      };
    }
    const ratio = (seconds(ours) / seconds(side)).toFixed(2);
    const memory = peak(ours) / peak(side);
    const asked = row.memoryTarget && name === 'lean' ? ` (target <= ${row.memoryTarget})` : '';
    return {
      what,
      note: `**${ratio}** (target <= ${target}): ${own}; ${name} ${time(side)}, peak ${peak(side).toFixed(1)} GB; memory ${memory.toFixed(2)}${asked}`,
      compared: true,
    };
  });
}

const seconds = ({ turns }: Side): number => median(turns.map((turn) => Number(turn.seconds)));
const peak = ({ turns }: Side): number => Math.max(...turns.map((turn) => Number(turn.peak_gb)));
function time(side: Side): string {
  const all = side.turns.map((turn) => Number(turn.seconds));
  const [unit, by] = seconds(side) < 1 ? ['ms', 1e3] : ['s', 1];
  const digits = (x: number): string => (x * by).toPrecision(3);
  const range = all.length > 1 ? ` (${digits(Math.min(...all))} to ${digits(Math.max(...all))})` : '';
  return `${digits(seconds(side))} ${unit}${range}`;
}
