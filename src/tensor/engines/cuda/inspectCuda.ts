import { existsSync } from 'node:fs';
import { findCompiler } from '../../provision/addon.js';
import { setupCommand } from '../../provision/paths.js';
import { addonPath } from './buildAddon.js';
import { type Card, cardsThere, cudaVersion, DRIVER_MEND, whyNotUsable } from './cards.js';
import { chooseLibraries, findLibraries, libraryNames } from './libraries.js';
import { readNote } from './note.js';

/** What `doctor` knows of the CUDA engine. */
export interface CudaInspection {
  /** Whether `setup --gpu` has made it complete: then a card is the first choice. */
  ready: boolean;
  /** CUDA's version as the driver gives it; null where there is no driver, or it could not be asked. */
  driver: string | null;
  cards: Card[];
  /** null: not found. */
  libraries: Record<'nvrtc' | 'cublasLt', { path: string; from: string } | null>;
  addon: string | null;
  /** In words: what stands between here and a card that computes. */
  state: string;
  problems: { what: string; mend: string }[];
}

/** Whether the ladder should begin with a card. An addon that is not compiled (an update) is compiled when the card is opened. */
export function cardIsThere(): boolean {
  const there = cardsThere();
  if (typeof there === 'string') return !existsSync(addonPath('cuda'));
  return whyNotUsable(there) === undefined;
}

/**
 * @param options.card whether something else says that a card is here (nvidia-smi, the device file)
 * @param options.asked whether the engine was asked for: then what is missing is a problem on a machine without a card too
 */
export async function inspectCuda(options: { card: boolean; asked: boolean }): Promise<CudaInspection> {
  const there = cardsThere();
  const known = typeof there === 'string' ? undefined : there;
  const note = readNote();
  const chosen = chooseLibraries(await findLibraries(), known?.driver);
  const libraries = { nvrtc: null, cublasLt: null } as CudaInspection['libraries'];
  for (const name of libraryNames) {
    const found = chosen[name];
    libraries[name] = note
      ? { path: note[name], from: note.from[name] }
      : found
        ? { path: found.path, from: found.from }
        : null;
  }
  const compiled = existsSync(addonPath('cuda'));
  const problems = problemsOf();
  return {
    ready: note !== undefined && compiled,
    driver: known ? cudaVersion(known.driver) : null,
    cards: known?.cards ?? [],
    libraries,
    addon: compiled ? addonPath('cuda') : null,
    state: stateOf(),
    problems,
  };

  function problemsOf(): CudaInspection['problems'] {
    if (!options.card && !known?.cards.length && !options.asked) return [];
    const setup = { mend: `${setupCommand} --gpu` };
    if (!compiled) {
      const what = 'the CUDA engine is not set up';
      return findCompiler()
        ? [{ what, ...setup }]
        : [{ what: `${what}: no C++ compiler`, mend: 'apt-get install g++' }];
    }
    const found: CudaInspection['problems'] = [];
    const why = known ? whyNotUsable(known) : { what: there as string, mend: DRIVER_MEND };
    if (why) found.push(why);
    const missing = libraryNames.filter((name) => !libraries[name]).map((name) => `lib${name}`);
    if (missing.length > 0) found.push({ what: `CUDA's ${missing.join(' and ')} not found`, ...setup });
    else if (!note && !why) found.push({ what: 'the CUDA engine is not set up', ...setup });
    return found;
  }

  function stateOf(): string {
    if (!known?.cards.length && !options.card) return 'no card here';
    if (problems.length > 0) return problems[0]!.what;
    return note?.tried ? `ready, tried on ${note.tried}` : 'ready, not yet tried on a card';
  }
}
