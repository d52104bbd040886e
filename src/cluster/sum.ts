import type { Cluster, Exchange } from './cluster.js';

/** Numbers in one message: 4 MiB. */
export const PIECE = 1 << 20;
/** Pieces whose first messages are under way while the oldest is summed. */
const AHEAD = 4;

/** For what comes, half a piece each; kept from one call to the next, for fresh memory would cost more than the sums. */
const rooms: Float32Array[] = [];

/** Small arrays travel together, up to so many numbers: a message costs as much as thousands of them. */
const TOGETHER = 1 << 18;

/** Which neighbours of some arrays, by their sizes, go together; a large one goes alone. */
export function bundles(sizes: readonly number[]): number[][] {
  const found: number[][] = [];
  let room = 0;
  for (const [i, size] of sizes.entries()) {
    if (size > room) {
      found.push([]);
      room = TOGETHER;
    }
    found.at(-1)!.push(i);
    room -= size;
  }
  return found;
}

/**
 * Adds up arrays of equal sizes over all ranks, in place, as a balanced binary tree in the order of the ranks:
 *
 *     ((x_0 + x_1) + (x_2 + x_3)) + ((x_4 + x_5) + (x_6 + x_7))
 *
 * each sum rounded to float32, so that the bits do not depend on how long a message takes. Recursive halving, then doubling
 * (Rabenseifner, ICCS 2004): partners at distance 1, 2, 4, ... swap halves of what they are still adding up, and hand the sums
 * back the same way. A rank sends and receives 2 (R − 1) / R times the numbers.
 *
 * @param arrays read one after the other; a piece of a later one is on its way while an earlier one is summed
 */
export function sumOverRanks(cluster: Cluster, arrays: Iterable<Float32Array>): void {
  if (cluster.size === 1) return;
  const open: { piece: Generator<undefined, void>; room: Float32Array }[] = [];
  const finish = (): void => {
    const { piece, room } = open.shift()!;
    for (const _ of piece);
    rooms.push(room);
  };
  for (const array of arrays) {
    for (let start = 0; start < array.length; start += PIECE) {
      const room = rooms.pop() ?? new Float32Array((PIECE + 1) >> 1);
      const piece = summing(cluster, array.subarray(start, start + PIECE), room);
      piece.next();
      open.push({ piece, room });
      if (open.length > AHEAD) finish();
    }
  }
  while (open.length > 0) finish();
}

/** One piece; it pauses after every message that it begins. @param room for what comes: half the piece */
function* summing(cluster: Cluster, x: Float32Array, room: Float32Array): Generator<undefined, void> {
  const { rank, size } = cluster;
  const cuts: { partner: number; own: Span; other: Span }[] = [];
  let span: Span = [0, x.length];
  for (let distance = 1; distance < size; distance *= 2) {
    const partner = rank ^ distance;
    const middle = (span[0] + span[1]) >> 1;
    const halves: [Span, Span] = [
      [span[0], middle],
      [middle, span[1]],
    ];
    const [own, other] = rank < partner ? halves : [halves[1], halves[0]];
    const given = room.subarray(0, own[1] - own[0]);
    yield* exchanged(cluster, partner, x.subarray(...other), given);
    add(x.subarray(...own), given);
    cuts.push({ partner, own, other });
    span = own;
  }
  for (const { partner, own, other } of cuts.reverse())
    yield* exchanged(cluster, partner, x.subarray(...own), x.subarray(...other));
}

function add(into: Float32Array, given: Float32Array): void {
  for (let i = 0; i < into.length; i++) into[i]! += given[i]!;
}

type Span = [from: number, to: number];

function* exchanged(
  cluster: Cluster,
  partner: number,
  out: Float32Array,
  into: Float32Array,
): Generator<undefined, void> {
  const under: Exchange = cluster.exchange(partner, bytesOf(out), bytesOf(into));
  yield;
  under.wait();
}

const bytesOf = (x: Float32Array): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
