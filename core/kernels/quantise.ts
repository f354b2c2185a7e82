/**
 * Weight formats: how rows of a matrix lie in device memory, and WGSL to unpack them in registers.
 *
 * All formats share one layout. Columns are padded with zeros to blocks of 32, rows to panels of 8. A granule is 16 bytes
 * of consecutive columns of one row: 4 values in f32, 8 in f16, 16 in q8, 32 in q4. Granules of a panel interleave by
 * row, so that 8 neighbouring invocations, one per row, read 128 consecutive bytes, on a GPU as on a CPU:
 *
 *     granule(row, g) = (row / 8) * 8 * granules + 8 * g + row % 8
 *
 * f16 packs two values per word (`unpack2x16float`). q8 is symmetric: value = scale * q, q in -127..127, scale = largest
 * magnitude / 127. q4 is symmetric about 8: value = scale * (q - 8), q in 0..15, and the scale takes the sign that maps
 * the value of largest magnitude to q = 0 (the rule of ggml's `q4_0`). Scales are f16, one per row and block of 32,
 * after the quants of all rows; the eight scales of a panel's block make one 16-byte word group:
 *
 *     half(row, block) = 8 * ((row / 8) * blocks + block) + row % 8
 *
 * @module
 */

/** Storage of a weight matrix: 32, 16, 8.5 or 4.5 bits per value. */
export type WeightDType = "f32" | "f16" | "q8" | "q4";

/** Columns of a block: rows are padded to whole blocks, and each has one scale in the quantised formats. */
export const blockColumns = 32;
/** Rows of a panel. */
export const panelRows = 8;

/** Values in 16 bytes. */
export const granuleValues: Readonly<Record<WeightDType, number>> = {
  f32: 4,
  f16: 8,
  q8: 16,
  q4: 32,
};

/** Where things are in a packed matrix. */
export interface PackedLayout {
  /** Blocks of 32 columns per row. */
  readonly blocks: number;
  /** Granules of 16 bytes per row. */
  readonly granules: number;
  /** Granule index of the first scale. */
  readonly scaleBase: number;
  /** Size of the whole matrix. */
  readonly bytes: number;
}

/** The layout of a matrix of `rows` times `columns` values. */
export function packedLayout(rows: number, columns: number, dtype: WeightDType): PackedLayout {
  const blocks = Math.ceil(columns / blockColumns);
  const granules = blocks * (blockColumns / granuleValues[dtype]);
  const panels = Math.ceil(rows / panelRows);
  const scaleBase = panels * panelRows * granules;
  const scaled = dtype === "q8" || dtype === "q4";
  return { blocks, granules, scaleBase, bytes: 16 * (scaleBase + (scaled ? panels * blocks : 0)) };
}

/** Packed rows: quants (or plain values) and scales, to be written to their places in a packed matrix. */
export interface PackedRows {
  /** Whole granules. */
  readonly values: Uint8Array<ArrayBuffer>;
  /** f16 scales; empty in f32 and f16. */
  readonly scales: Uint8Array<ArrayBuffer>;
}

/**
 * Packs whole panels of rows; rows past the end of `values` become zeros.
 *
 * @param values `rows * columns` values, row-major.
 * @throws {RangeError} when a value does not fit the format (not finite in q8 and q4, beyond 65504 in f16).
 */
export function packRows(
  values: Float32Array,
  rows: number,
  columns: number,
  dtype: WeightDType,
): PackedRows {
  const { blocks, granules, scaleBase, bytes } = packedLayout(rows, columns, dtype);
  const packed = {
    values: new Uint8Array(16 * scaleBase),
    scales: new Uint8Array(bytes - 16 * scaleBase),
  };
  const width = granuleValues[dtype];
  if (dtype === "f32" || dtype === "f16") {
    const lanes = dtype === "f32"
      ? new Float32Array(packed.values.buffer)
      : new Float16Array(packed.values.buffer);
    for (let row = 0; row < rows; row++) {
      const base = width * granuleIndex(row, 0, granules);
      for (let column = 0; column < columns; column += width) {
        const from = row * columns + column;
        const count = Math.min(width, columns - column);
        const to = base + panelRows * column;
        for (let i = 0; i < count; i++) lanes[to + i] = values[from + i]!;
      }
    }
    if (dtype === "f16") requireHalves(values, rows * columns);
    return packed;
  }
  const scales = new Float16Array(packed.scales.buffer);
  const block = new Float32Array(blockColumns);
  for (let row = 0; row < rows; row++) {
    const panel = Math.floor(row / panelRows), lane = row % panelRows;
    for (let b = 0; b < blocks; b++) {
      const from = row * columns + b * blockColumns;
      const count = Math.min(blockColumns, columns - b * blockColumns);
      block.fill(0);
      for (let i = 0; i < count; i++) block[i] = values[from + i]!;
      const scale = panelRows * (panel * blocks + b) + lane;
      const granule = granuleIndex(row, b * (blockColumns / width), granules);
      if (dtype === "q8") scales[scale] = packBlock8(block, packed.values, 16 * granule);
      else scales[scale] = packBlock4(block, packed.values, 16 * granule);
    }
  }
  return packed;
}

function granuleIndex(row: number, granule: number, granules: number): number {
  return Math.floor(row / panelRows) * panelRows * granules + panelRows * granule + row % panelRows;
}

function requireHalves(values: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const size = Math.abs(values[i]!);
    // 65520 is halfway between the largest half and the next power of two: from there on rounding overflows.
    if (size >= 65520 && size < Infinity) {
      throw new RangeError(`Cannot store ${values[i]} as f16: the largest value is 65504; use f32`);
    }
  }
}

/** The value of largest magnitude in a block. NaN when there is one. */
function extreme(block: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < block.length; i++) {
    const value = block[i]!;
    if (Number.isNaN(value)) return value;
    if (Math.abs(value) > Math.abs(largest)) largest = value;
  }
  return largest;
}

/** Rounds a scale to f16, so that quants are chosen for the scale they will be multiplied by. */
function halfScale(scale: number): number {
  if (!Number.isFinite(scale)) {
    throw new RangeError("Cannot quantise a weight that is not finite; use f32");
  }
  return Math.max(-65504, Math.min(65504, Math.f16round(scale)));
}

function packBlock8(block: Float32Array, bytes: Uint8Array, at: number): number {
  const scale = halfScale(Math.abs(extreme(block)) / 127);
  if (scale === 0) return 0;
  const stride = 16 * panelRows;
  for (let i = 0; i < blockColumns; i++) {
    const q = Math.round(Math.max(-127, Math.min(127, block[i]! / scale)));
    bytes[at + (i >> 4) * stride + (i & 15)] = q;
  }
  return scale;
}

function packBlock4(block: Float32Array, bytes: Uint8Array, at: number): number {
  const scale = halfScale(extreme(block) / -8);
  for (let i = 0; i < blockColumns; i += 2) {
    const low = scale === 0 ? 8 : quant4(block[i]! / scale);
    const high = scale === 0 ? 8 : quant4(block[i + 1]! / scale);
    bytes[at + (i >> 1)] = low | (high << 4);
  }
  return scale;
}

function quant4(ratio: number): number {
  return Math.max(0, Math.min(15, Math.round(ratio) + 8));
}

/** Reads rows of a packed matrix on the host, one row at a time. */
export class PackedReader {
  readonly #dtype: WeightDType;
  readonly #columns: number;
  readonly #layout: PackedLayout;
  readonly #values: Float32Array | Float16Array | Int8Array | Uint8Array;
  readonly #scales: Float16Array;

  /**
   * Opens a packed matrix.
   *
   * @param words The packed matrix.
   * @param rows Rows of the packed matrix.
   * @param columns Columns, without padding.
   */
  constructor(
    words: Uint32Array | Float32Array,
    rows: number,
    columns: number,
    dtype: WeightDType,
  ) {
    const { buffer, byteOffset } = words;
    this.#dtype = dtype;
    this.#columns = columns;
    this.#layout = packedLayout(rows, columns, dtype);
    const bytes = 16 * this.#layout.scaleBase;
    this.#values = dtype === "f32"
      ? new Float32Array(buffer, byteOffset, bytes / 4)
      : dtype === "f16"
      ? new Float16Array(buffer, byteOffset, bytes / 2)
      : dtype === "q8"
      ? new Int8Array(buffer, byteOffset, bytes)
      : new Uint8Array(buffer, byteOffset, bytes);
    this.#scales = new Float16Array(buffer, byteOffset + bytes, (this.#layout.bytes - bytes) / 2);
  }

  /** Writes the values of a row to `target`, from its start. */
  read(row: number, target: Float32Array | Float64Array): void {
    const { blocks, granules } = this.#layout;
    const values = this.#values, columns = this.#columns;
    const panel = Math.floor(row / panelRows), lane = row % panelRows;
    const first = granuleIndex(row, 0, granules);
    if (this.#dtype === "f32" || this.#dtype === "f16") {
      const width = granuleValues[this.#dtype];
      let at = width * first;
      for (let column = 0; column < columns; column += width) {
        const count = Math.min(width, columns - column);
        for (let i = 0; i < count; i++) target[column + i] = values[at + i]!;
        at += width * panelRows;
      }
      return;
    }
    const stride = 16 * panelRows;
    for (let block = 0; block < blocks; block++) {
      const scale = this.#scales[panelRows * (panel * blocks + block) + lane]!;
      const column = blockColumns * block;
      const count = Math.min(blockColumns, columns - column);
      if (this.#dtype === "q8") {
        const at = 16 * first + 2 * stride * block;
        for (let i = 0; i < count; i++) {
          target[column + i] = scale * values[at + (i >> 4) * stride + (i & 15)]!;
        }
      } else {
        const at = 16 * first + stride * block;
        for (let i = 0; i < count; i++) {
          target[column + i] = scale * (((values[at + (i >> 1)]! >> (4 * (i & 1))) & 15) - 8);
        }
      }
    }
  }
}

/** WGSL of a weight format. The matrix is bound as `w`, the scale base is `params.scaleBase`. */
export interface UnpackWgsl {
  /** Element type of the binding. */
  readonly element: "vec4<f32>" | "vec4<u32>";
  /** Has scales. */
  readonly scaled: boolean;
  /** Runs of four columns in a granule. */
  readonly runs: number;
  /** The four unscaled values of run `run` (an expression) of a granule already loaded into `granule`. */
  run(granule: string, run: number): string;
  /** Definition of `fn weightRun(base: u32, k4: u32) -> vec4<f32>`: four unscaled values, loading no more than needed. */
  readonly loadRun: string;
}

const bytesOf = (word: string) =>
  `vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(${word}) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u))`;
// A nibble in the low fraction bits of 2^23 is the float 2^23 + nibble: one subtraction converts it and removes the 8.
const nibblesOf = (half: string) =>
  `(bitcast<vec4<f32>>(((vec4<u32>(${half}) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u)) | vec4<u32>(0x4b000000u)) - vec4<f32>(8388616.0))`;
const halvesOf = (low: string, high: string) =>
  `vec4<f32>(unpack2x16float(${low}), unpack2x16float(${high}))`;
const component = (granule: string, i: number) => `${granule}.${"xyzw"[i]}`;

/** How kernels read each format. */
export const unpackWgsl: Readonly<Record<WeightDType, UnpackWgsl>> = {
  f32: {
    element: "vec4<f32>",
    scaled: false,
    runs: 1,
    run: (granule) => granule,
    loadRun: "fn weightRun(base: u32, k4: u32) -> vec4<f32> { return w[base + 8u * k4]; }",
  },
  f16: {
    element: "vec4<u32>",
    scaled: false,
    runs: 2,
    run: (granule, run) => halvesOf(component(granule, 2 * run), component(granule, 2 * run + 1)),
    loadRun: `fn weightRun(base: u32, k4: u32) -> vec4<f32> {
  let at = base + 8u * (k4 >> 1u);
  let part = 2u * (k4 & 1u);
  return ${halvesOf("w[at][part]", "w[at][part + 1u]")};
}`,
  },
  q8: {
    element: "vec4<u32>",
    scaled: true,
    runs: 4,
    run: (granule, run) => bytesOf(component(granule, run)),
    loadRun: `fn weightRun(base: u32, k4: u32) -> vec4<f32> {
  let word = w[base + 8u * (k4 >> 2u)][k4 & 3u];
  return ${bytesOf("word")};
}`,
  },
  q4: {
    element: "vec4<u32>",
    scaled: true,
    runs: 8,
    run: (granule, run) =>
      nibblesOf(
        run % 2 === 0 ? component(granule, run >> 1) : `(${component(granule, run >> 1)} >> 16u)`,
      ),
    loadRun: `fn weightRun(base: u32, k4: u32) -> vec4<f32> {
  let word = w[base + 8u * (k4 >> 3u)][(k4 >> 1u) & 3u] >> (16u * (k4 & 1u));
  return ${nibblesOf("word")};
}`,
  },
};

/** Definition of `fn weightScale(n: u32, block: u32) -> f32`, the scale of row `n`. */
export const weightScaleWgsl = /* wgsl */ `
fn weightScale(n: u32, block: u32) -> f32 {
  let word = w[params.scaleBase + (n >> 3u) * params.blocks + block][(n & 7u) >> 1u];
  let pair = unpack2x16float(word);
  return select(pair.x, pair.y, (n & 1u) == 1u);
}`;
