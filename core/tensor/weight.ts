/**
 * Weight matrices: frozen, possibly narrow, possibly larger than one binding.
 *
 * @module
 */
import type { Device, DeviceBuffer } from "../device/mod.ts";
import {
  packedLayout,
  PackedReader,
  packRows,
  panelRows,
  type WeightDType,
} from "../kernels/quantise.ts";

import type { GradientNode } from "./tensor.ts";

export type { WeightDType } from "../kernels/quantise.ts";

/** A run of rows of a {@linkcode Weight} in a buffer of its own. */
export interface WeightPart {
  /** Packed rows (see `core/kernels/quantise.ts`). */
  readonly buffer: DeviceBuffer;
  /** Number of the first row. */
  readonly firstRow: number;
  /** Number of rows. */
  readonly rows: number;
}

/** Device bytes of a weight matrix, without what the pool's size classes and splitting add. */
export function weightBytes(rows: number, columns: number, dtype: WeightDType): number {
  return packedLayout(rows, columns, dtype).bytes;
}

/** A matrix of `rows` times `columns` weights on a device, split by rows so that every part fits a binding. */
export class Weight {
  /** Where the weight lives. */
  readonly device: Device;
  /** Output features, N of y = x W^T. */
  readonly rows: number;
  /** Input features, K. */
  readonly columns: number;
  /** Storage of the values. */
  readonly dtype: WeightDType;
  /** The rows in order, cut where a binding ends. */
  readonly parts: readonly WeightPart[];
  /** Place in the differentiation under way (see `tape.ts`); frozen weights have none. */
  node?: GradientNode | undefined;

  /** Wraps packed parts. To make one from values use {@linkcode weight} or {@linkcode WeightWriter}. */
  constructor(
    device: Device,
    rows: number,
    columns: number,
    dtype: WeightDType,
    parts: readonly WeightPart[],
  ) {
    this.device = device;
    this.rows = rows;
    this.columns = columns;
    this.dtype = dtype;
    this.parts = parts;
  }

  /** Device bytes held. */
  get bytes(): number {
    return this.parts.reduce((sum, { buffer }) => sum + buffer.size, 0);
  }

  /** Reads the values back, dequantised, row-major. Waits for the device. */
  async readFloats(): Promise<Float32Array<ArrayBuffer>> {
    const values = new Float32Array(this.rows * this.columns);
    for (const { buffer, firstRow, rows } of this.parts) {
      const { bytes } = packedLayout(rows, this.columns, this.dtype);
      if (bytes === 0) continue;
      const words = new Uint32Array(await this.device.read(buffer, 0, bytes));
      const reader = new PackedReader(words, rows, this.columns, this.dtype);
      for (let row = 0; row < rows; row++) {
        const at = (firstRow + row) * this.columns;
        reader.read(row, values.subarray(at, at + this.columns));
      }
    }
    return values;
  }

  /**
   * Replaces all values, row-major.
   *
   * @throws {RangeError} when their number differs, or one does not fit the dtype.
   */
  write(values: Float32Array): void {
    if (values.length !== this.rows * this.columns) {
      throw new RangeError(
        `Cannot write ${values.length} values to a weight of ${this.rows} rows and ${this.columns} columns`,
      );
    }
    if (values.length > 0) uploadPanels(this, 0, values, this.rows);
  }

  /** Returns the memory to the device's pool. */
  dispose(): void {
    for (const { buffer } of this.parts) this.device.release(buffer);
  }
}

/** Uploads whole panels, in slices that keep the packed copy small. */
function uploadPanels(weight: Weight, firstRow: number, values: Float32Array, count: number): void {
  const { device, parts, columns, dtype } = weight;
  const { granules, bytes: panelBytes } = packedLayout(panelRows, columns, dtype);
  const slice = panelRows * Math.max(1, Math.floor(2 ** 24 / panelBytes));
  for (const part of parts) {
    const layout = packedLayout(part.rows, columns, dtype);
    const from = Math.max(firstRow, part.firstRow);
    const to = Math.min(firstRow + count, part.firstRow + part.rows);
    for (let row = from; row < to; row += slice) {
      const rows = Math.min(slice, to - row);
      const at = (row - firstRow) * columns;
      const packed = packRows(values.subarray(at, at + rows * columns), rows, columns, dtype);
      const local = row - part.firstRow;
      device.write(part.buffer, packed.values, 16 * local * granules);
      if (packed.scales.length > 0) {
        const scales = layout.scaleBase + (local / panelRows) * layout.blocks;
        device.write(part.buffer, packed.scales, 16 * scales);
      }
    }
  }
}

/** Rows that fit a binding, whole panels. */
function rowsPerPart(device: Device, rows: number, columns: number, dtype: WeightDType): number {
  const { bindingBytes, bufferBytes } = device.capabilities;
  const panelBytes = Math.max(16, packedLayout(panelRows, columns, dtype).bytes);
  const panels = Math.floor(Math.min(bindingBytes, bufferBytes) / panelBytes);
  if (panels === 0) {
    throw new RangeError(
      `Cannot store a weight of ${columns} columns as ${dtype}: ${panelRows} rows take ${panelBytes} bytes, one binding holds ${bindingBytes}`,
    );
  }
  return Math.min(rows, panels * panelRows);
}

/**
 * Uploads a weight matrix chunk by chunk, so that host memory stays bounded by the chunk.
 *
 * Chunks may come in any order and cut, every row exactly once. Rows travel in panels of 8, so chunks whose first row
 * and size are multiples of 8 go straight to the device and others wait, panel by panel, for their missing rows.
 */
export class WeightWriter {
  readonly #weight: Weight;
  readonly #pending = new Map<number, { values: Float32Array; missing: number }>();
  #written = 0;

  /** Allocates the matrix. @throws {RangeError} when eight rows do not fit a binding. */
  constructor(device: Device, rows: number, columns: number, dtype: WeightDType) {
    for (const extent of [rows, columns]) {
      if (!Number.isSafeInteger(extent) || extent < 0) {
        throw new RangeError(`Cannot make a weight of ${rows} rows and ${columns} columns`);
      }
    }
    const step = rowsPerPart(device, rows, columns, dtype);
    const parts: WeightPart[] = [];
    for (let firstRow = 0; firstRow < rows; firstRow += step) {
      const count = Math.min(step, rows - firstRow);
      const { bytes } = packedLayout(count, columns, dtype);
      parts.push({ buffer: device.allocate(bytes, `weight ${dtype}`), firstRow, rows: count });
    }
    this.#weight = new Weight(device, rows, columns, dtype, parts);
  }

  /**
   * Packs and uploads rows.
   *
   * @param firstRow Number of the first row in `values`.
   * @param values Whole rows, row-major.
   * @throws {RangeError} when the values are no whole rows, reach past the end, or do not fit the dtype.
   */
  writeRows(firstRow: number, values: Float32Array): void {
    const { rows, columns } = this.#weight;
    const count = columns === 0 ? 0 : values.length / columns;
    if (
      !Number.isInteger(count) || !Number.isInteger(firstRow) || firstRow < 0 ||
      firstRow + count > rows
    ) {
      throw new RangeError(
        `Cannot write ${values.length} values from row ${firstRow} to a weight of ${rows} rows and ${columns} columns`,
      );
    }
    this.#written += count;
    let row = firstRow;
    const end = firstRow + count;
    const take = (to: number) =>
      values.subarray((row - firstRow) * columns, (to - firstRow) * columns);
    while (row < end) {
      const panel = Math.floor(row / panelRows) * panelRows;
      const whole = end === rows ? rows : Math.floor(end / panelRows) * panelRows;
      if (row === panel && whole > row) {
        uploadPanels(this.#weight, row, take(whole), whole - row);
        row = whole;
      } else {
        const stop = Math.min(end, panel + panelRows);
        this.#collect(panel, row, take(stop), stop - row);
        row = stop;
      }
    }
  }

  /** Keeps some rows of a panel until the others arrive. */
  #collect(panel: number, row: number, values: Float32Array, count: number): void {
    const { rows, columns } = this.#weight;
    const size = Math.min(panelRows, rows - panel);
    let pending = this.#pending.get(panel);
    if (pending === undefined) {
      pending = { values: new Float32Array(size * columns), missing: size };
      this.#pending.set(panel, pending);
    }
    pending.values.set(values, (row - panel) * columns);
    pending.missing -= count;
    if (pending.missing <= 0) {
      this.#pending.delete(panel);
      uploadPanels(this.#weight, panel, pending.values, size);
    }
  }

  /** The finished matrix. @throws {RangeError} when rows are missing or were written twice. */
  finish(): Weight {
    const { rows, columns } = this.#weight;
    if (columns > 0 && (this.#written !== rows || this.#pending.size > 0)) {
      throw new RangeError(
        `Cannot finish a weight of ${rows} rows: ${this.#written} were written, expected each once`,
      );
    }
    return this.#weight;
  }
}

/**
 * A weight matrix from values.
 *
 * @param values `rows * columns` values, row-major.
 * @throws {RangeError} when the number of values does not fit, or a value does not fit the dtype.
 */
export function weight(
  device: Device,
  values: Float32Array,
  rows: number,
  columns: number,
  dtype: WeightDType = "f32",
): Weight {
  if (values.length !== rows * columns) {
    throw new RangeError(
      `Cannot make a weight of ${rows} rows and ${columns} columns from ${values.length} values`,
    );
  }
  const writer = new WeightWriter(device, rows, columns, dtype);
  writer.writeRows(0, values);
  return writer.finish();
}
