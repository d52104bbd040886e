import { isPart } from '../text/tokenTexts.js';
import type { Entry } from './entries.js';
import { escapeHtml, scriptJson } from './escape.js';
import { colorVariable } from './palette.js';
import type { Run } from './runs.js';
import type { SampleRow } from './sampleRows.js';

/** Prompts in the page at most: enough to browse, small enough to mail. */
export const mostPrompts = 60;

/** What the page's script reads: one entry a prompt, one response a run. Log-probabilities are rounded to 0.001. */
export interface SampleData {
  runs: { label: string; color: string; teacher: boolean }[];
  prompts: {
    index: number;
    prompt: string;
    reference: string;
    responses: ({
      text: string;
      finished: boolean | null;
      tokens: ShownToken[] | null;
    } | null)[];
  }[];
  /** How many prompts there were before the cut. */
  total: number;
}

/** Text, ln q, ln p, and of a character that several tokens make together their number. */
type ShownToken = [text: string, q: number | null, p: number | null, parts?: number];

/** Tokens that are parts of one character are shown as one, with the log-probability of all of them. */
function shownTokens(tokens: NonNullable<SampleRow['tokens']>): ShownToken[] {
  const texts = tokens.map(({ text }) => text);
  const shown: ShownToken[] = [];
  let parts: typeof tokens = [];
  tokens.forEach((token, i) => {
    parts.push(token);
    if (isPart(texts, i)) return;
    const sum = (of: 'student' | 'teacher'): number | null =>
      parts.some((part) => part[of] === null)
        ? null
        : rounded(parts.reduce((total, part) => total + part[of]!, 0));
    const one: ShownToken = [token.text, sum('student'), sum('teacher')];
    if (parts.length > 1) one[3] = parts.length;
    shown.push(one);
    parts = [];
  });
  return shown;
}

const rounded = (x: number | null): number | null => (x === null ? null : Math.round(x * 1000) / 1000);

/** Joins the runs' samples by prompt index, those that most runs answered first, cut to `mostPrompts`, in data order. */
export function joinSamples<T extends Run>(runs: readonly T[], colors: ReadonlyMap<T, number>): SampleData {
  const answered = runs.filter((run) => run.samples.length > 0);
  const byRun = answered.map(
    (run) => new Map(run.samples.map((row): [number, SampleRow] => [row.index, row])),
  );
  const count = (index: number): number => byRun.filter((rows) => rows.has(index)).length;
  const indices = [...new Set(byRun.flatMap((rows) => [...rows.keys()]))];
  const chosen = indices.sort((a, b) => count(b) - count(a) || a - b).slice(0, mostPrompts);
  return {
    runs: answered.map((run) => ({
      label: run.label,
      color: colorVariable(colors.get(run)!),
      teacher: run.isTeacher,
    })),
    prompts: chosen
      .sort((a, b) => a - b)
      .map((index) => {
        const rows = byRun.map((map) => map.get(index));
        const some = rows.find((row) => row !== undefined)!;
        return {
          index,
          prompt: some.prompt,
          reference: some.reference,
          responses: rows.map((row) =>
            row === undefined
              ? null
              : {
                  text: row.text,
                  finished: row.finished,
                  tokens: row.tokens ? shownTokens(row.tokens) : null,
                },
          ),
        };
      }),
    total: indices.length,
  };
}

const legendSteps = [
  ['n3', '≤ −3'],
  ['n2', '−3 to −1'],
  ['n1', '−1 to −¼'],
  ['z', 'about 0'],
  ['p1', '¼ to 1'],
  ['p2', '1 to 3'],
  ['p3', '≥ 3'],
];

/** The browser's frame and its data; the script fills it in with text nodes, never with markup. */
export function sampleBrowser(runs: readonly Entry[], colors: ReadonlyMap<Entry, number>): string {
  const data = joinSamples(runs, colors);
  if (data.prompts.length === 0) return '<p class="absent">No samples were saved with these runs.</p>';
  const origins = runs.flatMap((run) =>
    run.samplesFrom === null || run.samplesFrom === 'eval'
      ? []
      : [`${run.label}: ${run.samplesFrom} (validation)`],
  );
  const several = runs.some((entry) => entry.runs.length > 1)
    ? ' Of several training seeds the first is shown.'
    : '';
  const cut = data.total > data.prompts.length ? `${data.prompts.length} of ${data.total} prompts. ` : '';
  const legend = legendSteps.map(([step, text]) => `<span class="tok ${step}">${text}</span>`).join('');
  return `<p class="note">${cut}Each token is coloured by its reward r = ln p − ln q: teacher’s minus student’s log-probability.
<span class="tok n2">Underlined</span> tokens are less likely to the teacher, <span class="tok p2">overlined</span> ones more.
Point at a token, or focus a response and use the arrow keys, for its numbers.${several}${origins.length > 0 ? ` Samples of ${escapeHtml(origins.join(', '))}.` : ''}</p>
<div class="legend" aria-label="Colour scale of the reward in nats"><span>r, nats</span>${legend}</div>
<div class="controls" id="sample-controls" hidden>
<button type="button" id="previous" aria-label="Previous prompt">←</button>
<output id="position"></output>
<button type="button" id="next" aria-label="Next prompt">→</button>
<label>Order <select id="order"><option value="data">as in the data</option><option value="surprise">lowest reward first</option><option value="length">longest responses first</option></select></label>
<label class="grow">Find <input type="search" id="find" placeholder="word in prompt or response"></label>
</div>
<div id="sample"><noscript><p class="absent">The sample browser needs JavaScript. The rows are in samples/ of each run directory.</p></noscript></div>
<script type="application/json" id="sample-data">${scriptJson(data)}</script>`;
}
