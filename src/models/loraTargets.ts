import { UsageError } from '../errors.js';
import type { Lora, ModelConfig } from './config.js';
import { familyOf } from './families.js';

/** A head of its own, under this name in every family. */
const HEAD = 'lm_head';

/** What a person chooses of low-rank adapters. Names of modules are those that PEFT takes (docs/lora.md). */
export interface LoraOptions {
  rank: number;
  alpha: number;
  /** Linear maps that get an adapter: their names, or ends of them; `all-linear`: all but the output head. */
  targets: 'all-linear' | readonly string[];
  /** Modules that train whole beside the adapters. */
  modulesToSave: readonly string[];
  /** alpha / sqrt(rank) instead of alpha / rank (Kalajdzievski, arXiv 2312.03732). */
  rslora: boolean;
}

/** Where the base of an adapter is from, for the files of the adapter. */
export interface BaseSource {
  /** Directory, or id on the hub with its revision. */
  name: string;
  revision?: string;
  /** SHA-256 of its shape and weights. */
  digest?: string;
}

/** What (x A) B is multiplied by. */
export function scaleOf(alpha: number, rank: number, rslora: boolean): number {
  return rslora ? alpha / Math.sqrt(rank) : alpha / rank;
}

/** The names of all linear maps but the output head, in the order of the model. */
export function linearMaps(config: ModelConfig): string[] {
  return Object.entries(familyOf(config).parameters(config)).flatMap(([name, { map }]) =>
    map ? [moduleOf(name)] : [],
  );
}

/**
 * The linear maps that targets name: a target is a map's name, or its end after a dot.
 *
 * @throws UsageError for a target that names none, with those that there are
 */
export function matchingMaps(config: ModelConfig, targets: LoraOptions['targets'], where: string): string[] {
  const maps = linearMaps(config);
  if (targets === 'all-linear') return maps;
  const names = (map: string, target: string): boolean => map === target || map.endsWith(`.${target}`);
  const wrong = targets.find((target) => !maps.some((map) => names(map, target)));
  if (wrong !== undefined) {
    const modules = Object.keys(familyOf(config).parameters(config)).map(moduleOf);
    const other = wrong === HEAD || modules.some((module) => names(module, wrong));
    const what = other
      ? 'is no linear map inside the network and gets no adapter (modules_to_save trains it whole)'
      : 'is no part of it';
    throw new UsageError(
      `${where}: ${JSON.stringify(wrong.slice(0, 120))} ${what}; linear maps of this ${config.family} model: ${kindsOf(maps).join(', ')}, or all-linear`,
    );
  }
  return maps.filter((map) => targets.some((target) => names(map, target)));
}

/** The last parts of names, each once. */
export function kindsOf(maps: readonly string[]): string[] {
  return [...new Set(maps.map((map) => map.slice(map.lastIndexOf('.') + 1)))];
}

/** The module that a parameter belongs to. */
export const moduleOf = (parameter: string): string => parameter.slice(0, parameter.lastIndexOf('.'));

/**
 * The parameters of the modules that are saved whole. As in PEFT a module is named by any end of its name: `norm` is also
 * `input_layernorm`. A tied head that is saved is parted from the embedding, which stays as it is.
 *
 * @throws UsageError for a name that no module ends with, or a tied embedding without its head
 */
export function savedParameters(
  config: ModelConfig,
  modules: readonly string[],
  where: string,
): Pick<Lora, 'saved' | 'parted'> {
  const parted = config.tiedHead && modules.some((end) => HEAD.endsWith(end));
  const { embedding, parameters } = familyOf(config);
  const names = Object.keys(parameters(parted ? { ...config, tiedHead: false } : config));
  const isSaved = (name: string, end: string): boolean =>
    moduleOf(name)
      .split('.')
      .some((_, i, parts) =>
        parts
          .slice(0, i + 1)
          .join('.')
          .endsWith(end),
      );
  const wrong = modules.find((end) => !names.some((name) => isSaved(name, end)));
  if (wrong !== undefined)
    throw new UsageError(
      `${where}: no module of this ${config.family} model is called ${JSON.stringify(wrong.slice(0, 120))}; it has ${kindsOf(names.map(moduleOf)).join(', ')}${config.tiedHead ? `, ${HEAD}` : ''}`,
    );
  const saved = names.filter((name) => modules.some((end) => isSaved(name, end)));
  if (config.tiedHead && !parted && saved.includes(embedding))
    throw new UsageError(
      `${where}: ${moduleOf(embedding)} is tied to the output head, which would not see what it learns; name ${HEAD} as well (the two then train apart), or leave it out`,
    );
  return { saved, ...(parted && { parted: true as const }) };
}
