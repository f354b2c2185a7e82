/**
 * Intermediate values by name, for parity runs and debugging.
 *
 * @module
 */
import type { Tensor } from "../tensor/tensor.ts";

/** Called with intermediate results as they are queued. The tensor is only valid during the call: read it at once. */
export type Trace = (name: string, value: Tensor) => void;

/** Prefixes the names of a trace; without a trace there is none. */
export function traceAt(trace: Trace | undefined, prefix: string): Trace | undefined {
  return trace === undefined ? undefined : (name, value) => trace(prefix + name, value);
}

/** Collects traced values: starts reading each at once and hands them out in the end. */
export class TraceCollector {
  readonly #reads = new Map<
    string,
    { shape: readonly number[]; values: Promise<ArrayLike<number>> }
  >();
  readonly #wanted: ((name: string) => boolean) | undefined;

  /**
   * A collector without values.
   *
   * @param wanted Names worth reading. Default: all.
   */
  constructor(wanted?: (name: string) => boolean) {
    this.#wanted = wanted;
  }

  /** The callback to hand to a model. */
  readonly trace: Trace = (name, value) => {
    if (this.#wanted?.(name) === false) return;
    this.#reads.set(name, { shape: value.shape, values: value.read() });
  };

  /** Names collected so far, in order. */
  names(): string[] {
    return [...this.#reads.keys()];
  }

  /** Values of one name, or undefined when it was never traced. */
  async values(name: string): Promise<ArrayLike<number> | undefined> {
    return await this.#reads.get(name)?.values;
  }
}
