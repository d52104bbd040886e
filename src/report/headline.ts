import { type Ranking, ranking } from './best.js';
import { metricInfo } from './catalog.js';
import { type Entry, startOf } from './entries.js';
import { escapeHtml } from './escape.js';
import { decimalsFor, fixed, ranged } from './format.js';
import { colorVariable } from './palette.js';
import { type Difference, difference, shownInterval } from './uncertainty.js';

/** What the first sentences speak of, and how: what is read, what MiniLLM minimises, what KD minimises. */
const spokenOf: Record<string, string> = {
  rouge_l_sampled: 'sampled Rouge-L',
  reverse_kl_seq: 'the reverse KL of a response',
  forward_kl_token: 'the forward KL of a token',
};

/**
 * What came out, in a few sentences for the top of the page: for each main metric the best student, against the student that all
 * began as where it was measured, with the interval; and plainly which metrics tell nothing apart. Empty without a choice.
 */
export function outcome(entries: readonly Entry[]): string[] {
  const start = startOf(entries);
  const origin = start && calledOf(start);
  const ranked = Object.keys(spokenOf).flatMap((name) => {
    const found = ranking(name, entries);
    return found ? [{ name, ...found }] : [];
  });
  const told = ranked.filter((one) => isTold(one.name, one, start));
  const sentences = told.map((one) => (start ? against(one.name, one, start) : alone(one.name, one)));
  const open = ranked.filter((one) => !told.includes(one)).map(({ name }) => spokenOf[name]!);
  if (open.length > 0) {
    const who = start ? `no student is clearly better than ${origin}` : 'no student is clearly ahead';
    sentences.push(`In ${joined(open, 'or')} ${who}.`);
  }
  if (sentences.length === 0) return [];
  if (entries.every(({ runs }) => runs.length === 1))
    sentences.push('Each model was trained once: the noise of training is in none of these intervals.');
  return sentences;
}

/** A sweep's starting student has no name of its own. */
const calledOf = (start: Entry): string => (start.method === 'start' ? 'the starting student' : start.label);

const isHigher = (name: string): boolean => metricInfo(name).better === 'higher';
const isClear = ({ low, high }: Difference): boolean => low > 0 || high < 0;

function isTold(name: string, { best, behind }: Ranking, start: Entry | undefined): boolean {
  if (!start?.evaluation[name]) return behind.length > 0;
  const gain = difference(best, start, name);
  return best !== start && gain !== null && isClear(gain);
}

/** MiniLLM lowers the reverse KL of a response most against SFT, by 3.55 nats (95 % interval 3.0 to 4.1), … */
function against(name: string, { best, level, behind }: Ranking, start: Entry): string {
  if (!start.evaluation[name]) return alone(name, { best, level, behind });
  const verb = isHigher(name) ? 'raises' : 'lowers';
  const most = level.length + behind.length > 1 ? ' most' : '';
  const others = behind.filter((entry) => entry !== start);
  return `${best.label} ${verb} ${spokenOf[name]}${most} against ${calledOf(start)}, by ${amount(name, best, start)}${standing(level, others)}.`;
}

function alone(name: string, { best, level, behind }: Ranking): string {
  const place = isHigher(name) ? 'highest' : 'lowest';
  const next = level.length === 0 ? `, ${behind[0]!.label} behind by ${amount(name, best, behind[0]!)}` : '';
  const what = spokenOf[name]!.replace(/^the /, '');
  return `${best.label} has the ${place} ${what}${next || standing(level, behind)}.`;
}

function standing(level: readonly Entry[], behind: readonly Entry[]): string {
  if (level.length > 0) return `, not clearly ahead of ${joined(level.map(({ label }) => label))}`;
  return behind.length > 0 ? `, clearly ahead of ${joined(behind.map(({ label }) => label))}` : '';
}

/** `3.55 nats (95 % interval 3.0 to 4.1)`, by which the better is ahead. */
function amount(name: string, better: Entry, other: Entry): string {
  const { mean, low, high } = difference(better, other, name)!;
  const { unit } = metricInfo(name);
  const decimals = decimalsFor((high - low) / 4);
  const ends = [Math.abs(low), Math.abs(high)].sort((a, b) => a - b).map((x) => fixed(x, decimals));
  return `${fixed(Math.abs(mean), decimals)}${unit && ` ${unit}`} (95\u00a0% interval ${ends.join(' to ')})`;
}

/** The best student by the main metrics, in large print; nothing without a choice between students. */
export function cards(entries: readonly Entry[], colors: ReadonlyMap<Entry, number>): string {
  // What MiniLLM minimises, the reverse KL of a response, has a card of its own.
  const names = ['rouge_l_sampled', 'reverse_kl_seq', 'reverse_kl_token', 'forward_kl_token'];
  const drawn = names.flatMap((name) => {
    const ranked = ranking(name, entries);
    if (!ranked) return [];
    const { best, level } = ranked;
    const { label, better, unit } = metricInfo(name);
    const summary = best.evaluation[name]!;
    const span = shownInterval(summary);
    const decimals = decimalsFor(span ? (span[1] - span[0]) / 4 : 0);
    const interval = span ? ` <small>${ranged(span[0], span[1], decimals)}</small>` : '';
    const teacher = entries.find((entry) => entry.isTeacher)?.evaluation[name];
    const others =
      level.length > 0 ? `, not clearly ahead of ${joined(level.map((entry) => entry.label))}` : '';
    return [
      `<div class="card"><p>${better === 'higher' ? 'Highest' : 'Lowest'} ${escapeHtml(label.replace(/^(Reverse|Forward)/, (word) => word.toLowerCase()))}${unit && `, ${escapeHtml(unit)}`}</p>
<p class="value">${fixed(summary.mean, decimals)}${interval}</p>
<p><span class="who" style="color:${colorVariable(colors.get(best)!)}">${escapeHtml(best.label)}</span>${escapeHtml(others)}${teacher ? `; teacher ${teacher.mean === 0 ? '0' : fixed(teacher.mean, decimals)}` : ''}</p></div>`,
    ];
  });
  return drawn.length > 0 ? `<div class="cards">${drawn.join('')}</div>` : '';
}

export function joined(items: readonly string[], word = 'and'): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} ${word} ${items.at(-1)}`;
}
