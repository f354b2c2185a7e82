/**
 * A device that counts memory and computes nothing: what a model of any size takes is known within seconds, on any machine.
 * Values read back are zeros.
 *
 * @module
 */
import type { BufferRange, Device, DeviceBuffer, MemoryUse, Recording, Scope } from "./device.ts";
import { HostDevice } from "./host.ts";
import { BufferPool } from "./pool.ts";

/** Buffers come from the pool that the real devices have; they have a size and no content. */
export class CountingDevice extends HostDevice implements Device {
  readonly #pool = new BufferPool<DeviceBuffer>((size, label) => ({ size, label }), () => {});

  override get memory(): MemoryUse {
    return this.#pool.memory;
  }

  override allocate(bytes: number, label: string): DeviceBuffer {
    return this.#pool.allocate(bytes, label);
  }

  override release(buffer: DeviceBuffer): void {
    this.#pool.release(buffer);
  }

  override hold(buffer: DeviceBuffer): void {
    this.#pool.hold(buffer);
  }

  override unhold(buffer: DeviceBuffer): void {
    this.#pool.unhold(buffer);
  }

  override reclaim(buffer: DeviceBuffer): boolean {
    return this.#pool.reclaim(buffer);
  }

  override scope(): Scope {
    return this.#pool.scope();
  }

  override write(): void {}

  override read(
    buffer: DeviceBuffer,
    byteOffset = 0,
    bytes: number = buffer.size - byteOffset,
  ): Promise<ArrayBuffer> {
    return Promise.resolve(new ArrayBuffer(bytes));
  }

  override copy(_source: BufferRange, _target: BufferRange, _bytes: number): void {}

  override dispatch(): void {}

  override record(): Recording {
    throw new TypeError("A device that only counts cannot record");
  }
}
