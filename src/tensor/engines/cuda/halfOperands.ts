import { blocksOf } from './call.js';
import type { Device } from './device.js';

const THREADS = 256;
/** Numbers that a thread rounds. */
const EACH = 4;

/**
 * Operands of products rounded to bfloat16 (7 bits of fraction, to the nearest, ties to even). Copies of weights are kept until
 * their memory is freed or written to, which is once a step; others live during a product.
 */
export class HalfOperands {
  /** Copies of weights, by the address of their float32. */
  private readonly kept = new Map<number, { address: number; size: number }>();

  constructor(private readonly device: Pick<Device, 'alloc' | 'free' | 'launch'>) {}

  /** @param size numbers at `address` @param keep weights @returns the address of their copy, and what to do after the product */
  copy(address: number, size: number, keep: boolean): { address: number; release: () => void } {
    const known = this.kept.get(address);
    if (known && known.size >= size) return { address: known.address, release() {} };
    if (known) this.forget(address);
    const made = this.device.alloc(2 * size);
    const blocks = blocksOf(size, EACH * THREADS);
    this.device.launch('elementwise_to_bfloat16', blocks, THREADS, [address, made, size]);
    if (keep) this.kept.set(address, { address: made, size });
    return { address: made, release: () => !keep && this.device.free(made) };
  }

  /** The memory at this address is freed, or other numbers are there now. */
  forget(address: number): void {
    const known = this.kept.get(address);
    if (!known) return;
    this.kept.delete(address);
    this.device.free(known.address);
  }
}
