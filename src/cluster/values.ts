import { deserialize, serialize } from 'node:v8';
import type { Cluster } from './cluster.js';

/* Plain data and typed arrays over the ranks, every number with its bits. */

/** What every rank gives, in the order of the ranks. */
export function gatherValues<T>(cluster: Cluster, own: T): T[] {
  if (cluster.size === 1) return [own];
  return cluster.gather(serialize(own)).map((bytes) => deserialize(bytes) as T);
}

/** What rank 0 gives; the others' value is not looked at. */
export function broadcastValue<T>(cluster: Cluster, own: T): T {
  if (cluster.size === 1) return own;
  return deserialize(cluster.broadcast(serialize(own))) as T;
}
