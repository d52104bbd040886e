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
