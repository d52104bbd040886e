import { UsageError } from '../errors.js';

/** What connects the machines, as `--network 10Gbit,50us` says it. */
export interface Network {
  /** Bytes a second of one machine, each way. */
  bandwidth: number;
  /** Seconds until a message of no length is there. */
  latency: number;
}

/** Ethernet as most clusters have it, over TCP. */
export const usualNetwork: Network = { bandwidth: 1.25e9, latency: 50e-6 };

const bandwidths: Record<string, number> = { Mbit: 1e6 / 8, Gbit: 1e9 / 8, MB: 1e6, GB: 1e9 };
const latencies: Record<string, number> = { us: 1e-6, µs: 1e-6, ms: 1e-3 };

/**
 * Reads `10Gbit,50us`, in this order; the latency may be left out. Units a second: Mbit, Gbit, MB, GB (powers of ten); us, ms.
 *
 * @throws UsageError
 */
export function parseNetwork(text: string): Network {
  const [bandwidth, latency, ...rest] = text.split(',').map((part) => part.trim());
  const network = {
    bandwidth: quantity(bandwidth!.replace(/\/s$/, ''), bandwidths),
    latency: latency === undefined ? usualNetwork.latency : quantity(latency, latencies),
  };
  if (rest.length > 0 || !(network.bandwidth > 0) || !(network.latency >= 0))
    throw new UsageError(
      `--network: ${text}: expected bandwidth and latency as 10Gbit,50us (Mbit, Gbit, MB or GB a second; us or ms)`,
    );
  return network;
}

function quantity(text: string, units: Record<string, number>): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*(\p{L}+)$/u.exec(text) ?? [];
  return Number(number) * (units[unit ?? ''] ?? Number.NaN);
}
