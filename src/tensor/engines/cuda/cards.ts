import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { addonPath } from './buildAddon.js';

const require = createRequire(import.meta.url);

export interface Card {
  name: string;
  /** Compute capability, 90 for 9.0. */
  architecture: number;
  totalBytes: number;
}

export interface CardsThere {
  /** CUDA's version as the driver gives it, 13000 for 13.0. */
  driver: number;
  cards: Card[];
}

/** The part of the addon that asks the driver without opening a card. */
export interface Cards {
  /** @throws an error in one line where there is no driver */
  cards(): CardsThere;
}

/** The oldest cards that the kernels are compiled for in the tests: Ampere. */
export const OLDEST = 80;

/** What brings a driver that is new enough. */
export const DRIVER_MEND =
  "NVIDIA's driver, 525 or newer (Debian/Ubuntu: apt-get install nvidia-driver; Fedora: dnf install akmod-nvidia)";

/** `13.0` for 13000. */
export const cudaVersion = (driver: number): string =>
  `${Math.floor(driver / 1000)}.${Math.floor((driver % 1000) / 10)}`;

/**
 * The cards that the driver knows.
 *
 * @returns why not, in words, where the addon is not compiled or there is no driver
 */
export function cardsThere(): CardsThere | string {
  const addon = addonPath('cuda');
  if (!existsSync(addon)) return 'the addon is not compiled';
  try {
    return (require(addon) as Cards).cards();
  } catch (error) {
    return (error as Error).message.split('\n')[0]!;
  }
}

/** Why the CUDA engine cannot work with a driver and its cards, and what mends it; undefined where it can. */
export function whyNotUsable({ driver, cards }: CardsThere): { what: string; mend: string } | undefined {
  const [card] = cards;
  if (!card)
    return {
      what: 'the NVIDIA driver lists no card',
      mend: 'nvidia-smi (and $CUDA_VISIBLE_DEVICES, a container without --gpus)',
    };
  if (driver < 12_000) {
    const what = `the NVIDIA driver knows CUDA ${cudaVersion(driver)}, and 12 or newer is needed`;
    return { what, mend: DRIVER_MEND };
  }
  if (card.architecture < OLDEST) {
    const what = `${card.name} has compute capability ${(card.architecture / 10).toFixed(1)}, and the kernels are for ${(OLDEST / 10).toFixed(1)} (Ampere) and newer`;
    return { what, mend: 'another card; the processor serves meanwhile' };
  }
  return undefined;
}
