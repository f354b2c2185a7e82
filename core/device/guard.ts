/**
 * Error scopes and device loss. Invalid work throws nothing in some runtimes and shows only in error scopes; a device that
 * reported an error refuses to return data from then on.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";

/** Watches one device and remembers its first failure. */
export class ErrorGuard {
  readonly #gpu: GPUDevice;
  readonly #name: string;
  readonly #pending = new Set<Promise<void>>();
  #failure: DeviceError | undefined;
  #closed = false;

  /** @param name The device in messages. */
  constructor(gpu: GPUDevice, name: string) {
    this.#gpu = gpu;
    this.#name = name;
    gpu.lost.then(({ message, reason }) => {
      if (this.#closed) return;
      const detail = message ? `${reason}: ${message}` : reason;
      this.#fail(
        "DEVICE_LOST",
        `The device "${name}" was lost (${detail}); run again, or use --device wasm`,
      );
    });
  }

  #fail(code: string, message: string, options?: ErrorOptions): void {
    this.#failure ??= new DeviceError(code, message, options);
  }

  /** Starts watching what is queued next. Every call is paired with {@linkcode ErrorGuard.end}. */
  begin(): void {
    this.#gpu.pushErrorScope("validation");
    this.#gpu.pushErrorScope("internal");
    this.#gpu.pushErrorScope("out-of-memory");
  }

  /** Stops watching. @param during What was going on, for the message. */
  end(during: () => string): void {
    const pops = Promise.all([
      this.#gpu.popErrorScope(),
      this.#gpu.popErrorScope(),
      this.#gpu.popErrorScope(),
    ]);
    const check = pops.then(
      ([memory, internal, validation]) => {
        if (memory !== null) {
          this.#fail(
            "OUT_OF_MEMORY",
            `Out of device memory on "${this.#name}" while ${during()}; use a smaller dtype, a shorter context or another device`,
          );
        }
        const error = internal ?? validation;
        if (error !== null) {
          this.#fail(
            "INVALID_WORK",
            `The device "${this.#name}" refused work while ${during()}: ${error.message}`,
          );
        }
      },
      (cause) =>
        this.#fail("DEVICE_LOST", `The device "${this.#name}" stopped answering`, { cause }),
    ).finally(() => this.#pending.delete(check));
    this.#pending.add(check);
  }

  /** Throws the first failure known so far. */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Waits for every scope that was ended, then throws the first failure. */
  async settle(): Promise<void> {
    await Promise.all(this.#pending);
    this.throwIfFailed();
  }

  /** Losing the device is no failure any more: it is about to be destroyed on purpose. */
  async close(): Promise<void> {
    await Promise.all(this.#pending);
    this.#closed = true;
  }
}
