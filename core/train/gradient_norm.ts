/**
 * The global norm of a set of gradients, on the device: what clipping multiplies by, and whether a step may be taken.
 *
 * @module
 */
import type { BufferRange, Device, DeviceBuffer } from "../device/mod.ts";
import {
  applyFactorProgram,
  squareSumLanes,
  squareSumProgram,
  verdictProgram,
  verdictWords,
} from "../kernels/clip.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What was found about the gradients of one step. */
export interface Verdict {
  /** L2 norm of all gradients together; infinite when a value is not finite or the sum of squares overflows float32. */
  readonly norm: number;
  /** What the gradients are multiplied by, min(1, limit / (norm + 1e-6)). */
  readonly factor: number;
  /** Whether the gradients may be applied. */
  readonly finite: boolean;
  /** Number of the first gradient with a value that is not finite. */
  readonly offender?: number;
}

/** Spans of `count` values from value `start` on, each within one binding and at an offset that may be bound. */
export function boundSpans(
  { capabilities: { bindingBytes, offsetAlignment } }: Device,
  start: number,
  count: number,
): { range: { offset: number; size: number }; first: number; count: number }[] {
  const align = Math.max(1, offsetAlignment / 4);
  const most = Math.floor(bindingBytes / 4 / align) * align;
  const spans = [];
  for (let at = start, end = start + count; at < end;) {
    const first = at % align;
    const length = Math.min(end - at, most - first);
    const range = { offset: 4 * (at - first), size: 4 * (first + length) };
    spans.push({ range, first, count: length });
    at += length;
  }
  return spans;
}

/** Which lanes measured a gradient. */
interface Measured {
  /** Number of the gradient. */
  readonly index: number;
  /** End of its lanes. */
  readonly end: number;
}

/** Measures and clips gradients. Holds a few words per 64 gradient values; make it outside of scopes that end before it. */
export class GradientNorm implements Disposable {
  readonly #device: Device;
  readonly #sizes: readonly number[];
  readonly #sums: DeviceBuffer;
  readonly #verdict: DeviceBuffer;
  /** The gradients measured last. */
  #measured: readonly Measured[] = [];

  /**
   * Allocates the memory of the measurements.
   *
   * @param sizes Number of values of each gradient.
   */
  constructor(device: Device, sizes: readonly number[]) {
    this.#device = device;
    this.#sizes = sizes;
    const lanes = sizes.reduce(
      (sum, size) =>
        boundSpans(device, 0, size).reduce((all, { count }) => all + squareSumLanes(count), sum),
      0,
    );
    this.#sums = device.allocate(4 * Math.max(1, lanes), "squares of gradients");
    this.#verdict = device.allocate(4 * verdictWords, "gradient verdict");
  }

  /** The verdict of the last measurement for kernels, see `kernels/clip.ts`. */
  get range(): BufferRange {
    return { buffer: this.#verdict, size: 4 * verdictWords };
  }

  /**
   * Queues the measurement; nothing is read back.
   *
   * @param gradients f32, as many as there are sizes; absent ones do not count.
   * @param limit Largest norm after clipping (`clip_grad_norm_` of PyTorch). Default: not clipped.
   * @throws {RangeError} when number or sizes of the gradients do not fit, or the limit is not above 0.
   */
  measure(gradients: readonly (Tensor | undefined)[], limit?: number): void {
    this.#check(gradients, limit);
    const device = this.#device;
    const measured: Measured[] = [];
    let start = 0;
    for (const [index, gradient] of gradients.entries()) {
      if (gradient === undefined) continue;
      for (const { range, count } of boundSpans(device, 0, gradient.size)) {
        const shared = squareSumLanes(count);
        device.dispatch(
          squareSumProgram(),
          { input: { buffer: gradient.buffer, ...range }, sums: { buffer: this.#sums } },
          { count, lanes: shared, start },
          [Math.ceil(shared / 64)],
          { flops: 2 * count, bytes: 4 * count },
        );
        start += shared;
      }
      measured.push({ index, end: start });
    }
    device.dispatch(
      verdictProgram(),
      { sums: { buffer: this.#sums }, verdict: this.range },
      { count: start, limit: limit ?? 0 },
      [1],
      { flops: start, bytes: 4 * start },
    );
    this.#measured = measured;
  }

  #check(gradients: readonly (Tensor | undefined)[], limit: number | undefined): void {
    if (gradients.length !== this.#sizes.length) {
      throw new RangeError(
        `Cannot take ${gradients.length} gradients, expected ${this.#sizes.length}`,
      );
    }
    for (const [i, gradient] of gradients.entries()) {
      if (gradient !== undefined && gradient.size !== this.#sizes[i]) {
        throw new RangeError(
          `Cannot take a gradient of ${gradient.size} values for parameter ${i}, expected ${
            this.#sizes[i]
          }`,
        );
      }
    }
    if (limit !== undefined && !(limit > 0)) {
      throw new RangeError(`Cannot clip gradients to a norm of ${limit}: expected more than 0`);
    }
  }

  /** Multiplies gradients in place by the factor of the last measurement; not finite ones stay. */
  apply(gradients: readonly (Tensor | undefined)[]): void {
    this.#check(gradients, undefined);
    for (const gradient of gradients) {
      if (gradient === undefined) continue;
      for (const { range, count } of boundSpans(this.#device, 0, gradient.size)) {
        this.#device.dispatch(
          applyFactorProgram(),
          { verdict: this.range, values: { buffer: gradient.buffer, ...range } },
          { count },
          [Math.ceil(count / 64)],
          { flops: count, bytes: 8 * count },
        );
      }
    }
  }

  /**
   * Reads the verdict of the last measurement. Call it before the next measurement and await it whenever convenient: what
   * is read is what was queued up to the call.
   */
  async verdict(): Promise<Verdict> {
    const measured = this.#measured;
    const words = new Uint32Array(
      await this.#device.read(this.#verdict, 0, 4 * verdictWords),
    );
    const [norm, factor] = new Float32Array(words.buffer);
    const bad = words[3]!;
    const offender = bad === 0 ? undefined : measured.find(({ end }) => bad <= end)?.index;
    return {
      norm: norm!,
      factor: factor!,
      finite: words[2] === 1,
      ...(offender === undefined ? {} : { offender }),
    };
  }

  /** Releases the device memory. */
  [Symbol.dispose](): void {
    this.#device.release(this.#sums);
    this.#device.release(this.#verdict);
  }
}
