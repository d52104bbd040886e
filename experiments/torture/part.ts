/** What one part of the campaign is, and what it is given. A part is a file in parts/ and an entry in parts/index.ts. */

/** Something that did not end as it must. It stays open until a later run finds its case right again. */
export interface Failure {
  /** With the part's seed rule this number makes the case again; of several that went wrong alike, the first. */
  case: number;
  /** How many went wrong alike. */
  times: number;
  /** What was mutated or done, e.g. `model.safetensors: bit flips`. */
  where: string;
  /** What happened instead, in one line. */
  what: string;
  found: string;
  /** The day when its case was right again. */
  mended?: string;
}

/** What the campaign hands to a part. */
export interface Work {
  /** An empty directory of its own, outside the repository, removed afterwards. */
  directory: string;
  seed: number;
  /** True when the time of this part is over: asked between cases. */
  over(): boolean;
  /** Takes the number of the next case; all that is random in it comes from `stream(seed, part, case)`. */
  take(): number;
  /** Counts a thing by a name that the page shows: `mutated inputs`, `refused in one line`, … */
  count(name: string, by?: number): void;
  /** A measurement, the last of its name, which the page shows. */
  fact(name: string, value: string): void;
  fail(failure: Pick<Failure, 'case' | 'where' | 'what'>): void;
}

export interface Part {
  name: string;
  /** For the page: what is done to what, and what must hold. Markdown, whole sentences. */
  what: string;
  /** For the page: what it does not cover. */
  leavesOut: string;
  /** For the page: what it found before the numbering of its cases was fixed; mended, and held by tests. */
  foundBefore?: string;
  /** Its share of the campaign's time, beside the others'. */
  share: number;
  /** A reason why it cannot run on this machine. */
  unable?(): string | undefined;
  run(work: Work): Promise<void>;
  /** Does the case of an open failure again. @returns what is still wrong, nothing if it is right now */
  again(work: Work, failure: Failure): Promise<string | undefined>;
}
