/**
 * Buffer pool with size classes and scopes, shared by both backends.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import type { DeviceBuffer, MemoryUse, Scope } from "./device.ts";

/**
 * Rounds a size up to its class: powers of two to 4 KiB, then eighths of a power of two, so that at most an eighth is
 * wasted and buffers of nearby sizes can replace one another.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const power = 2 ** Math.ceil(Math.log2(bytes));
  if (power <= 4096) return power;
  const step = power / 16;
  return Math.ceil(bytes / step) * step;
}

/** Keeps released buffers by class and hands them out again. */
export class BufferPool<B extends DeviceBuffer> {
  readonly #create: (bytes: number, label: string) => B;
  readonly #destroy: (buffer: B) => void;
  readonly #free = new Map<number, B[]>();
  readonly #live = new Set<B>();
  /** Buffers held by somebody besides their owner: how often, and whether the owner has released them meanwhile. */
  readonly #held = new Map<B, { count: number; released: boolean }>();
  readonly #scopes: Set<B>[] = [];
  /** While recording: every buffer handed out, and those already returned, which only the recording may use again. */
  #recorded: { readonly members: Set<B>; readonly free: Map<number, B[]> } | undefined;
  #liveBytes = 0;
  #pooledBytes = 0;
  #peak = 0;
  #created = 0;

  /**
   * An empty pool.
   *
   * @param create Makes a buffer of exactly `bytes`, which is a size class (see {@linkcode sizeClass}).
   * @param destroy Gives a pooled buffer back to the system.
   */
  constructor(create: (bytes: number, label: string) => B, destroy: (buffer: B) => void) {
    this.#create = create;
    this.#destroy = destroy;
  }

  /** Bytes live, pooled and at the peak, and the number of buffers made so far. */
  get memory(): MemoryUse {
    return {
      live: this.#liveBytes,
      pooled: this.#pooledBytes,
      peak: this.#peak,
      created: this.#created,
    };
  }

  /** A buffer of at least `bytes`; the innermost scope, if any, will release it. */
  allocate(bytes: number, label: string): B {
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new RangeError(`Cannot allocate ${bytes} bytes for ${label}`);
    }
    const size = sizeClass(Math.max(4, bytes));
    let buffer = this.#recorded?.free.get(size)?.pop() ?? this.#free.get(size)?.pop();
    if (buffer === undefined) {
      buffer = this.#create(size, label);
      this.#created++;
    } else {
      this.#pooledBytes -= size;
    }
    this.#recorded?.members.add(buffer);
    this.#live.add(buffer);
    this.#liveBytes += size;
    this.#peak = Math.max(this.#peak, this.#liveBytes + this.#pooledBytes);
    this.#scopes.at(-1)?.add(buffer);
    return buffer;
  }

  /**
   * Puts a buffer back for reuse, out of its scope; one that is held goes back when nobody holds it any more.
   *
   * @throws {DeviceError} code `RELEASED` when it is not live.
   */
  release(buffer: B): void {
    const held = this.#held.get(buffer);
    if (!this.#live.has(buffer) || held?.released) {
      throw new DeviceError("RELEASED", `Cannot release buffer "${buffer.label}": it is not live`);
    }
    for (const scope of this.#scopes) scope.delete(buffer);
    if (held === undefined) this.#recycle(buffer);
    else held.released = true;
  }

  /** Keeps the content of a live buffer until {@linkcode BufferPool.unhold}, whether or not its owner releases it. */
  hold(buffer: B): void {
    const held = this.#held.get(buffer);
    if (held !== undefined) held.count++;
    else if (this.#live.has(buffer)) this.#held.set(buffer, { count: 1, released: false });
    else throw new DeviceError("RELEASED", `Cannot hold buffer "${buffer.label}": it is not live`);
  }

  /** Ends one {@linkcode BufferPool.hold}. @throws {DeviceError} code `RELEASED` when the buffer is not held. */
  unhold(buffer: B): void {
    const held = this.#held.get(buffer);
    if (held === undefined) {
      throw new DeviceError("RELEASED", `Cannot unhold buffer "${buffer.label}": it is not held`);
    }
    if (--held.count > 0) return;
    this.#held.delete(buffer);
    if (held.released) this.#recycle(buffer);
  }

  /**
   * Ends the only {@linkcode BufferPool.hold} of a released buffer by owning it again: it joins the innermost scope.
   *
   * @returns Whether that was possible; if not (others hold it, or its owner has not released it), nothing has changed.
   */
  reclaim(buffer: B): boolean {
    const held = this.#held.get(buffer);
    if (held === undefined || held.count > 1 || !held.released) return false;
    this.#held.delete(buffer);
    this.#scopes.at(-1)?.add(buffer);
    return true;
  }

  #recycle(buffer: B): void {
    this.#live.delete(buffer);
    this.#liveBytes -= buffer.size;
    this.#pooledBytes += buffer.size;
    const free = this.#recorded?.members.has(buffer) ? this.#recorded.free : this.#free;
    const list = free.get(buffer.size);
    if (list === undefined) free.set(buffer.size, [buffer]);
    else list.push(buffer);
  }

  /** Whether the buffer was handed out and not released since. */
  isLive(buffer: B): boolean {
    return this.#live.has(buffer) && !this.#held.get(buffer)?.released;
  }

  /** Gives pooled memory back to the system. */
  trim(): void {
    for (const list of this.#free.values()) for (const buffer of list) this.#destroy(buffer);
    this.#free.clear();
    this.#pooledBytes = 0;
  }

  /**
   * Opens the scope of a recording. Its replays write to every buffer handed out inside, also to those returned inside, so
   * `take` yields them all, live: nobody else gets one before the recording releases it.
   */
  recordingScope(): { take(): B[] } {
    const scope = this.scope();
    const recorded = this.#recorded = { members: new Set<B>(), free: new Map<number, B[]>() };
    return {
      take: () => {
        this.#recorded = undefined;
        const returned = [...recorded.free.values()].flat();
        for (const buffer of returned) {
          this.#live.add(buffer);
          this.#liveBytes += buffer.size;
          this.#pooledBytes -= buffer.size;
        }
        return [...scope.take(), ...returned];
      },
    };
  }

  /** Opens a scope; buffers it still holds when it is disposed are released. */
  scope(): Scope & { take(): B[] } {
    const held = new Set<B>();
    this.#scopes.push(held);
    let open = true;
    const close = () => {
      if (!open) return;
      open = false;
      const index = this.#scopes.lastIndexOf(held);
      if (index !== this.#scopes.length - 1) {
        throw new DeviceError("SCOPE_ORDER", "Cannot close a scope while an inner scope is open");
      }
      this.#scopes.pop();
    };
    return {
      keep: (holder) => {
        const buffer = holder.buffer as B;
        if (held.delete(buffer)) {
          const index = this.#scopes.lastIndexOf(held);
          if (index > 0) this.#scopes[index - 1]!.add(buffer);
        }
        return holder;
      },
      /** Closes the scope and hands its buffers to the caller instead of releasing them. */
      take: () => {
        close();
        return [...held];
      },
      [Symbol.dispose]: () => {
        close();
        for (const buffer of [...held]) this.release(buffer);
      },
    };
  }
}
