/**
 * Choice of the kernel for a matrix product.
 *
 * | adapter | rows | kernel |
 * | --- | --- | --- |
 * | software | 1 to 4 | {@linkcode laneVectorProgram} |
 * | software | more | {@linkcode laneTileProgram} |
 * | GPU | 1 to 16 | {@linkcode vectorProgram} |
 * | GPU | more | {@linkcode tileProgram} |
 *
 * @module
 */
import type { Capabilities, Program } from "../device/mod.ts";
import { laneTileProgram, laneVectorProgram } from "./matmul_lanes.ts";
import type { Product } from "./matmul_operands.ts";
import { tileProgram } from "./matmul_tile.ts";
import { vectorProgram } from "./matmul_vector.ts";

export { type Product, type ProductParameters } from "./matmul_operands.ts";

/** A kernel and its workgroup counts. */
export interface PlannedProduct {
  /** The kernel. */
  readonly program: Program;
  /** Workgroups over columns, rows and batch. */
  readonly workgroups: readonly [number, number, number];
}

type Kind = Pick<Capabilities, "software" | "subgroups" | "subgroupSizes">;

/** Few enough rows for {@linkcode laneVectorProgram}. */
function isLaneVector(capabilities: Kind, rows: number): boolean {
  return capabilities.software && rows <= 4;
}

/** K that the chosen kernel steps by: operands that are tensors are read whole only when their K is a multiple. */
export function runAlignment(capabilities: Kind, rows: number): 4 | 32 {
  return isLaneVector(capabilities, rows) ? 32 : 4;
}

/**
 * Multiply-adds from which a tall lane tile repays its compilation: CPU adapters take a second for 32 rows, a sixth of
 * that for 8, which are half as fast.
 */
const tallTileWork = 2 ** 24;

/** Picks the kernel for `rows` (at most) times `columns` sums of `inner` products in each of `batches`. */
export function planProduct(
  capabilities: Kind,
  product: Product,
  { rows, columns, inner, batches }: {
    rows: number;
    columns: number;
    inner: number;
    batches: number;
  },
): PlannedProduct {
  const over = (program: Program, height: number, width: number): PlannedProduct => ({
    program,
    workgroups: [Math.ceil(columns / width), Math.ceil(rows / height), batches],
  });
  if (capabilities.software) {
    const panels = columns > 16 ? 4 : columns > 8 ? 2 : 1;
    const broadcast = capabilities.subgroups && capabilities.subgroupSizes[0] >= 8;
    if (isLaneVector(capabilities, rows)) {
      const height = rows === 3 ? 4 : rows;
      const tile = { rows: height, panels: height === 4 ? Math.min(panels, 2) : panels, broadcast };
      return over(laneVectorProgram(product, tile), height, 8 * tile.panels);
    }
    const tall = batches * rows * columns * inner >= tallTileWork;
    const height = !tall || rows <= 8 ? 8 : rows <= 16 || !broadcast ? 16 : 32;
    const tile = { rows: height, panels, broadcast };
    return over(laneTileProgram(product, tile), height, 8 * panels);
  }
  // A vector kernel would read a column-major operand in pieces of 32 bytes.
  if (rows <= 16 && product.right !== "columns") {
    const height = rows === 1 ? 1 : rows === 2 ? 2 : 4;
    return over(vectorProgram(product, height), height, 8);
  }
  // Large tiles reuse more, small ones keep more workgroups busy.
  const large = Math.ceil(rows / 128) * Math.ceil(columns / 128) * batches >= 96;
  const side = large && rows > 64 && columns > 64 ? 128 : 64;
  return over(tileProgram(product, side), side, side);
}
