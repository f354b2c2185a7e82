/**
 * Linear layers with low-rank adapters, fused epilogues and row selection.
 *
 * @module
 */
import type { Unary } from "../kernels/elementwise.ts";
import { loraPackProgram } from "../kernels/lora.ts";
import { packedLayout } from "../kernels/quantise.ts";
import { add, unary } from "./elementwise.ts";
import { outerSum, timesWeight } from "./linear_gradient.ts";
import { addLora } from "./lora.ts";
import { matmul } from "./matmul.ts";
import { concat } from "./movement.ts";
import { multiplyTensor, multiplyWeight } from "./product.ts";
import { sumRows } from "./reduction.ts";
import { isDifferentiated, note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";
import { Weight } from "./weight.ts";

/** One low-rank adapter: adds scale * b a to the weight. */
export interface LoraTerm {
  /** f32 [r, K]. */
  readonly a: Tensor;
  /** f32 [N, r]. */
  readonly b: Tensor;
  /** Usually alpha / r, or alpha / sqrt(r) for rank-stabilised adapters. */
  readonly scale: number;
  /**
   * What the adapter's input goes through in training. Always applied where it is given, since a recomputed block runs outside
   * of the differentiation first.
   */
  readonly dropout?: (x: Tensor) => Tensor;
}

/** Which rows of x are multiplied, as when tokens are routed to experts. */
export interface RowSelection {
  /** Output rows at most. */
  readonly rows: number;
  /** u32 row numbers into x: output row r comes from x row `index[first + r]`. Without it, from x row `first + r`. */
  readonly index?: Tensor;
  /** Where the selection begins. */
  readonly first: number;
  /** u32 counts on the device. */
  readonly counts?: Tensor;
  /** Which of the counts: only output rows r < counts[count] are computed; the others are left as they are. */
  readonly count?: number;
}

/** Variations of {@linkcode linear}. */
export interface LinearOptions {
  /** f32 [N], added to the product. */
  readonly bias?: Tensor;
  /** Applied after the bias. */
  readonly activation?: Unary;
  /** f32 of the shape of the output (of the selected rows, where there is a selection), added last. */
  readonly residual?: Tensor;
  /** Adapters that act at once. */
  readonly lora?: readonly LoraTerm[];
  /** Multiplies only some rows of x. */
  readonly select?: RowSelection;
  /** Writes to rows of a tensor [..., N] from `firstRow` on instead of a new one. */
  readonly into?: { readonly tensor: Tensor; readonly firstRow: number };
}

/**
 * y = activation(x (W + sum_i scale_i B_i A_i)^T + bias) + residual.
 *
 * The adapters are never merged: a small product makes h = scale x A^T, and the main product continues its sum over the
 * ranks.
 *
 * @param x f32 [..., K].
 * @param w Weight of N rows and K columns in any dtype.
 * @returns f32 [..., N], [rows, N] with a selection, or the tensor of `into`.
 * @throws {RangeError} when shapes do not fit.
 */
export function linear(x: Tensor, w: Weight, options: LinearOptions = {}): Tensor {
  const { lora: adapters = [] } = options;
  const parts = [x, w, options.bias, options.residual];
  return adapters.some(({ dropout }) => dropout !== undefined) ||
      isDifferentiated(...parts, ...adapters.flatMap(({ a, b }) => [a, b]))
    ? differentiableLinear(x, w, options)
    : fusedLinear(x, w, options);
}

/** The layer in steps that can be differentiated: adapters' first factors, product, activation, residual. */
function differentiableLinear(x: Tensor, w: Weight, options: LinearOptions): Tensor {
  const { bias, activation, residual, lora = [], select, into } = options;
  if (select !== undefined || into !== undefined) {
    throw new TypeError("Cannot differentiate a linear layer that selects rows or writes in place");
  }
  const { device } = x;
  const rows = x.size / w.columns;
  check(x, w, options, rows, rows);
  // Without an activation the residual needs no step of its own.
  const together = activation === undefined ? residual : undefined;
  const firsts = lora.map(({ a, scale, dropout }) =>
    matmul(dropout?.(x) ?? x, a, { transposeB: true, scale })
  );
  const h = firsts.length > 1 ? concat(firsts, -1) : firsts[0];
  const b = lora.length > 1 ? concat(lora.map(({ b }) => b), 1) : lora[0]?.b;
  let y = empty(device, [...x.shape.slice(0, -1), w.rows], "f32", "linear");
  multiplyWeight(
    device,
    { range: x.range, rows },
    w,
    { range: y.range, stride: w.rows },
    rows,
    { bias, residual: together, update: h && { h, b: b!, rank: h.shape.at(-1)! } },
  );
  note({
    name: "linear",
    inputs: [x, w, bias, together, h, b],
    outputs: [y],
    saved: [
      ...isDifferentiated(w) ? [x] : [],
      ...isDifferentiated(h) ? [b!] : [],
      ...isDifferentiated(b) ? [h!] : [],
    ],
    backward([gradient], [wantsX, wantsW, wantsBias, , wantsH, wantsB]) {
      const g = gradient!.reshape(-1, w.rows);
      return [
        wantsX ? timesWeight(g, w) : undefined,
        wantsW ? outerSum(g, x.reshape(-1, w.columns)) : undefined,
        wantsBias ? sumRows(g) : undefined,
        gradient,
        wantsH ? matmul(g, b!) : undefined,
        wantsB ? outerSum(g, h!.reshape(-1, h!.shape.at(-1)!)) : undefined,
      ];
    },
  });
  if (activation !== undefined) y = unary(activation, y);
  return residual === undefined || together !== undefined
    ? y
    : add(y, residual.reshape(...y.shape));
}

function fusedLinear(x: Tensor, w: Weight, options: LinearOptions = {}): Tensor {
  const { bias, activation, residual, lora = [], select, into } = options;
  const { device } = x;
  const n = w.rows, k = w.columns;
  const leading = x.shape.slice(0, -1);
  const sourceRows = leading.reduce((product, extent) => product * extent, 1);
  const rows = select?.rows ?? sourceRows;
  check(x, w, options, rows, sourceRows);
  const y = into?.tensor ??
    empty(device, select === undefined ? [...leading, n] : [rows, n], "f32", "linear");
  if (rows === 0 || n === 0 || sourceRows === 0) return y;

  // Releases the adapters' temporaries; y was allocated outside.
  using _temporaries = device.scope();
  const left = { range: x.range, rows: sourceRows };
  const selection = {
    index: select?.index,
    first: select?.first ?? 0,
    counts: select?.counts,
    counter: select?.count ?? 0,
  };
  const rank = lora.reduce((sum, { a }) => sum + a.shape[0]!, 0);
  let update: { h: Tensor; b: Tensor; rank: number } | undefined;
  if (rank > 0) {
    const h = empty(device, [rows, rank], "f32", "lora h");
    const packed = lora.length === 1 ? undefined : empty(device, [n, rank], "f32", "lora b");
    let offset = 0;
    for (const { a, b, scale } of lora) {
      const r = a.shape[0]!;
      multiplyTensor(
        device,
        left,
        { range: a.range, transposed: true },
        { range: h.range, stride: rank, firstColumn: offset },
        { rows, columns: r, inner: k },
        { ...selection, alpha: scale },
      );
      if (packed !== undefined) {
        device.dispatch(
          loraPackProgram(),
          { b: b.range, packed: packed.range },
          { count: n * r, rank: r, total: rank, offset },
          [Math.ceil((n * r) / 64)],
          { bytes: 8 * n * r },
        );
      }
      offset += r;
    }
    update = { h, b: packed ?? lora[0]!.b, rank };
  }
  multiplyWeight(
    device,
    left,
    w,
    { range: y.range, stride: n, firstRow: into?.firstRow ?? 0 },
    rows,
    { ...selection, bias, activation, residual, update },
  );
  return y;
}

function check(
  x: Tensor,
  w: Weight,
  { bias, residual, lora = [], select, into }: LinearOptions,
  rows: number,
  sourceRows: number,
): void {
  const n = w.rows, k = w.columns;
  const demand = (holds: boolean, what: string) => {
    if (!holds) {
      throw new RangeError(
        `Cannot apply a linear layer of ${n} rows and ${k} columns to ${x.dtype} ${
          shapeText(x.shape)
        }: ${what}`,
      );
    }
  };
  demand(
    x.dtype === "f32" && x.shape.length > 0 && x.shape.at(-1) === k,
    `expected f32 [..., ${k}]`,
  );
  demand(
    bias === undefined || bias.dtype === "f32" && bias.size === n,
    `bias has shape ${shapeText(bias?.shape ?? [])}, expected [${n}]`,
  );
  demand(
    residual === undefined || residual.dtype === "f32" && residual.size === rows * n,
    `residual has shape ${shapeText(residual?.shape ?? [])}, expected ${rows * n} values`,
  );
  for (const { a, b } of lora) {
    const r = a.shape[0]!;
    demand(
      a.shape.length === 2 && a.shape[1] === k && b.shape.length === 2 && b.shape[0] === n &&
        b.shape[1] === r,
      `the adapter has a ${shapeText(a.shape)} and b ${
        shapeText(b.shape)
      }, expected [r, ${k}] and [${n}, r]`,
    );
  }
  if (select !== undefined) {
    const end = select.first + select.rows;
    demand(
      select.first >= 0 && select.rows >= 0 &&
        end <= (select.index === undefined ? sourceRows : select.index.size),
      `the selection ends at ${end} of ${select.index?.size ?? sourceRows} rows`,
    );
    demand(
      select.counts === undefined || (select.count ?? 0) < select.counts.size,
      `the selection has ${select.counts?.size} counts, expected one at ${select.count}`,
    );
  }
  if (into !== undefined) {
    const { tensor, firstRow } = into;
    demand(
      tensor.dtype === "f32" && tensor.shape.at(-1) === n && firstRow >= 0 &&
        (firstRow + rows) * n <= tensor.size,
      `the output is ${tensor.dtype} ${
        shapeText(tensor.shape)
      } from row ${firstRow} on, expected f32 [..., ${n}] with room for ${rows} rows`,
    );
  }
}

/**
 * The weight with adapters merged in, W + sum_i scale_i B_i A_i. The given weight stays as it is.
 *
 * @throws {RangeError} when the weight is not f32 or a shape does not fit: a narrow weight would be rounded again.
 */
export function mergeLora(w: Weight, terms: readonly LoraTerm[]): Weight {
  const { device, rows: n, columns: k } = w;
  const fits = terms.every(({ a, b }) =>
    a.shape.length === 2 && a.shape[1] === k && b.shape.length === 2 && b.shape[0] === n &&
    b.shape[1] === a.shape[0]
  );
  if (w.dtype !== "f32" || !fits) {
    throw new RangeError(
      `Cannot merge adapters ${
        terms.map(({ a, b }) => `${shapeText(b.shape)} x ${shapeText(a.shape)}`).join(", ")
      } into a ${w.dtype} weight of ${n} rows and ${k} columns: expected f32, [N, r] x [r, K]`,
    );
  }
  const parts = w.parts.map(({ buffer, firstRow, rows }) => {
    const { bytes } = packedLayout(rows, k, "f32");
    const merged = device.allocate(bytes, "merged weight");
    device.copy({ buffer }, { buffer: merged }, bytes);
    return { buffer: merged, firstRow, rows };
  });
  const merged = new Weight(device, n, k, "f32", parts);
  addLora(merged, terms);
  return merged;
}
