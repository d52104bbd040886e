import * as tf from '@tensorflow/tfjs-core';

export interface DeviceMemory {
  /** Bytes handed out now, and the most there ever were. */
  inUse: number;
  peak: number;
  /** Bytes of freed blocks that are kept. */
  cached: number;
  /** Bytes that the card has free besides. */
  free: number;
  total: number;
}

/**
 * Memory of the card that computes, in bytes: what is handed out, the most there ever was, what is free, and all of it.
 *
 * @returns undefined where the processor computes, whose memory is the machine's
 */
export function deviceMemory(): DeviceMemory | undefined {
  const { device } = tf.memory() as { device?: DeviceMemory };
  return device && device.total > 0 ? device : undefined;
}

/**
 * Waits until all that was asked of a card is done: a clock that stops before it has told the time of asking. Where the processor
 * computes, all is done already.
 */
export function settle(): void {
  if (!deviceMemory()) return;
  // More numbers than the engine leaves with the processor; reading waits for everything before it.
  tf.tidy(() => void tf.zeros([2048]).dataSync());
}
