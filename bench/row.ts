/**
 * A row of the kernel benchmark: one computation, ours and the peer's, and how to tell that both are right.
 *
 * @module
 */
import type { Device } from "../core/device/mod.ts";
import type { Tensor } from "../core/tensor/mod.ts";
import type { PeerSpec, Provider } from "./peer.ts";

/** A computation with its inputs in place. */
export interface PreparedRow extends Disposable {
  /** Queues the computation once. Runs in a scope that releases what it allocates. */
  ours(): Tensor;
  readonly peers: Readonly<Record<Provider, PeerSpec>>;
  /** Rows of the output. */
  readonly rows: number;
  /** Row `row` of the output in double precision. */
  reference(row: number): Float64Array;
  /** Largest error allowed to ours, in units of the root mean square of the reference. */
  readonly tolerance: number;
  /** The same for the peers, which may compute in narrower types. */
  readonly peerTolerance: number;
}

/** A row before its inputs exist. */
export interface KernelRow {
  /** Kind and sizes, such as `matmul f32 512x512x512`. Filters look here. */
  readonly name: string;
  /** Floating-point operations per run (a multiply-add is two), for rows bound by arithmetic. */
  readonly flops?: number;
  /** Bytes that a run must move at least, for rows bound by memory. */
  readonly bytes?: number;
  prepare(device: Device): PreparedRow;
}

/** At most this many rows of an output are checked against double precision. */
const checkedRows = 12;

/** The largest difference of some output rows (first, last and others) from double precision, over their root mean square. */
export function largestError(
  { rows, reference }: Pick<PreparedRow, "rows" | "reference">,
  output: Float32Array,
): number {
  const width = output.length / rows;
  const count = Math.min(rows, checkedRows);
  let worst = 0;
  for (let i = 0; i < count; i++) {
    const row = count === 1 ? 0 : Math.floor(i * (rows - 1) / (count - 1));
    const expected = reference(row);
    if (expected.length !== width) return NaN;
    let difference = 0, power = 0;
    for (let column = 0; column < width; column++) {
      // Math.max keeps a NaN, the worst error of all.
      difference = Math.max(
        difference,
        Math.abs(output[row * width + column]! - expected[column]!),
      );
      power += expected[column]! ** 2;
    }
    worst = Math.max(worst, difference / Math.sqrt(power / width));
  }
  return worst;
}

/** Sum of magnitudes of an output: tells whether two runs wrote the same. */
export function checksum(output: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < output.length; i++) sum += Math.abs(output[i]!);
  return sum;
}
