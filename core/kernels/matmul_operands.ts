/**
 * What all matrix products share: the description of a product, its parameters, access to both operands in runs of four
 * consecutive k, and the epilogue.
 *
 *     y[z, outRow + r, outColumn + n] = f(alpha * (sum_k x[z, row(r), k] * w[z, n, k] + sum_j h[r, j] * b[n, j]) + bias[n])
 *                                       + residual[r, n]
 *
 * The right operand is a packed {@link UnpackWgsl | weight}, or a float tensor whose rows (`rows`, [N, K]) or columns
 * (`columns`, [K, N]) belong to the outputs. Where K is no multiple of the run (tensors) or of the block (weights), the
 * `masked` readers put exact zeros in place of what lies behind a row, so that a NaN of the next row stays there.
 *
 * @module
 */
import type { ArraySpec, Scalar } from "../device/mod.ts";
import { erfWgsl, type Unary, unaryFunctions } from "./elementwise.ts";
import { unpackWgsl, type WeightDType, weightScaleWgsl } from "./quantise.ts";

/** How the left operand is read: whole aligned runs, or value by value with zeros behind the row. */
export type LeftKind = "whole" | "masked";

/** What the right operand is. */
export type RightKind = WeightDType | "rows" | "rowsMasked" | "columns";

/** The constants of a product that its source depends on. */
export interface Product {
  /** How x is read. */
  readonly left: LeftKind;
  /** What w is. */
  readonly right: RightKind;
  /** Adds `bias[n]`. */
  readonly bias: boolean;
  /** Function of the biased sum. */
  readonly activation: Unary | undefined;
  /** Adds `residual[r, n]` last. */
  readonly residual: boolean;
  /** A low-rank update: h [rows, rank] times b [N, rank] continues the sum. */
  readonly lora: boolean;
  /** Row r of the left operand is row `index[first + r]` instead of `first + r`. */
  readonly index: boolean;
  /** Only rows below `counts[counter]` are computed. */
  readonly counts: boolean;
}

/** A product in words, for program keys. */
export function productKey(product: Product): string {
  const { left, right, bias, activation, residual, lora, index, counts } = product;
  const flags = Object.entries({ bias, residual, lora, index, counts });
  return [left, right, activation, ...flags.map(([name, on]) => on ? name : undefined)]
    .filter((word) => word !== undefined).join(" ");
}

/** Parameters of every product kernel. */
export const productParameters = {
  /** Output rows per batch entry, an upper bound where there are counts. */
  rows: "u32",
  /** Output columns of this dispatch: rows of the right operand. */
  columns: "u32",
  /** K. */
  inner: "u32",
  /** Runs of four k: ceil(K / 4), for weights of the padded K. */
  steps: "u32",
  /** Blocks of 32 k per row of a weight. */
  blocks: "u32",
  /** Granules per row of a weight. */
  granules: "u32",
  /** Granule index of a weight's first scale. */
  scaleBase: "u32",
  /** First row of the left operand, or first entry of `index`. */
  first: "u32",
  /** Rows of the left operand. */
  sourceRows: "u32",
  /** First row and column written, and the row length of the output. */
  outRow: "u32",
  outColumn: "u32",
  outStride: "u32",
  /** Index into `counts`. */
  counter: "u32",
  /** Columns of h and b. */
  rank: "u32",
  /** Values between batch entries. */
  leftBatch: "u32",
  rightBatch: "u32",
  outBatch: "u32",
  batches: "u32",
  alpha: "f32",
} as const satisfies Record<string, Scalar>;

/** The parameters of one dispatch. */
export type ProductParameters = { [K in keyof typeof productParameters]: number };

/** Whether the right operand is a packed weight. */
export function isPacked(right: RightKind): right is WeightDType {
  return right in unpackWgsl;
}

/** The arrays of a product kernel. */
export function productArrays(product: Product): Record<string, ArraySpec> {
  const read = (type: string): ArraySpec => ({ type, access: "read" });
  return {
    x: read(product.left === "whole" ? "vec4<f32>" : "f32"),
    w: read(
      isPacked(product.right)
        ? unpackWgsl[product.right].element
        : product.right === "rows"
        ? "vec4<f32>"
        : "f32",
    ),
    y: { type: "f32", access: "read_write" },
    ...(product.bias ? { bias: read("f32") } : {}),
    ...(product.residual ? { residual: read("f32") } : {}),
    ...(product.lora ? { h: read("f32"), b: read("f32") } : {}),
    ...(product.index ? { index: read("u32") } : {}),
    ...(product.counts ? { counts: read("u32") } : {}),
  };
}

/** The right operand in granules, the unit in which vector kernels stream it. */
export interface GranuleWgsl {
  /** Loads granule `g` of the row at `base`. */
  load(base: string, g: string): string;
  /** Runs of four in a granule. */
  readonly runs: number;
  /** Unscaled values of one run of a loaded granule. */
  run(granule: string, run: number): string;
  /** Has scales, one per 32 columns. */
  readonly scaled: boolean;
}

/** Granules of the right operand; a tensor's granule is one run. */
export function granuleWgsl(right: RightKind): GranuleWgsl {
  if (isPacked(right)) {
    const { runs, run, scaled } = unpackWgsl[right];
    return { load: (base, g) => `w[${base} + 8u * (${g})]`, runs, run, scaled };
  }
  return {
    load: (base, g) => `weightRun(${base}, ${g})`,
    runs: 1,
    run: (granule) => granule,
    scaled: false,
  };
}

function maskedRun(array: string, stride: string): string {
  const one = (i: number) =>
    `select(0.0, ${array}[base + (k + ${i}u) * ${stride}], k + ${i}u < params.inner)`;
  return `let k = 4u * k4;
  return vec4<f32>(${[0, 1, 2, 3].map(one).join(", ")});`;
}

function leftWgsl(left: LeftKind): string {
  return left === "whole"
    ? `fn leftBase(z: u32, row: u32) -> u32 { return (z * params.leftBatch + row * params.inner) >> 2u; }
fn leftRun(base: u32, k4: u32) -> vec4<f32> { return x[base + k4]; }`
    : `fn leftBase(z: u32, row: u32) -> u32 { return z * params.leftBatch + row * params.inner; }
fn leftRun(base: u32, k4: u32) -> vec4<f32> { ${maskedRun("x", "1u")} }`;
}

function rightWgsl(right: RightKind): string {
  if (isPacked(right)) {
    const { loadRun, scaled } = unpackWgsl[right];
    return `fn rightBase(z: u32, n: u32) -> u32 { return (n >> 3u) * 8u * params.granules + (n & 7u); }
${loadRun}${scaled ? weightScaleWgsl : ""}`;
  }
  switch (right) {
    case "rows":
      return `fn rightBase(z: u32, n: u32) -> u32 { return (z * params.rightBatch + n * params.inner) >> 2u; }
fn weightRun(base: u32, k4: u32) -> vec4<f32> { return w[base + k4]; }`;
    case "rowsMasked":
      return `fn rightBase(z: u32, n: u32) -> u32 { return z * params.rightBatch + n * params.inner; }
fn weightRun(base: u32, k4: u32) -> vec4<f32> { ${maskedRun("w", "1u")} }`;
    case "columns":
      return `fn rightBase(z: u32, n: u32) -> u32 { return z * params.rightBatch + n; }
fn weightRun(base: u32, k4: u32) -> vec4<f32> { ${maskedRun("w", "params.columns")} }`;
  }
}

/**
 * WGSL functions of a product: `rowLimit()`, `sourceRow(r)`, `leftBase(z, row)`, `leftRun(base, k4)`,
 * `rightBase(z, n)`, `weightRun(base, k4)`, `weightScale(n, block)` for quantised weights, and `store(z, r, n, sum)`.
 */
export function productFunctions(product: Product): string {
  const { bias, activation, residual, index, counts } = product;
  return /* wgsl */ `
${activation === "gelu" ? erfWgsl : ""}
${leftWgsl(product.left)}
${rightWgsl(product.right)}
fn rowLimit() -> u32 { return ${
    counts ? "min(params.rows, counts[params.counter])" : "params.rows"
  }; }
fn sourceRow(r: u32) -> u32 { return min(${
    index ? "index[params.first + r]" : "params.first + r"
  }, params.sourceRows - 1u); }
fn store(z: u32, r: u32, n: u32, sum: f32) {
  let column = params.outColumn + n;
  var x = sum * params.alpha;
  ${bias ? "x += bias[column];" : ""}
  ${activation === undefined ? "" : `x = ${unaryFunctions[activation].wgsl};`}
  ${residual ? "x += residual[r * params.outStride + column];" : ""}
  y[z * params.outBatch + (params.outRow + r) * params.outStride + column] = x;
}`;
}

/** Names 0..count-1 as WGSL lines. */
export function unroll(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join("\n");
}
