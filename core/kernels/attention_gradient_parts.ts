/**
 * Source that both sides of the gradient of attention for GPUs are made of (see `attention_gradient_tiles.ts`), and the size
 * of their tiles.
 *
 * @module
 */
import { numbers } from "./attention.ts";
import type { AttentionGradientConstants } from "./attention_gradient.ts";

/** How the work of a workgroup is cut. */
export interface GradientTile {
  /** Own rows per invocation, 4 or 8; a workgroup owns eight times as many. */
  readonly rows: number;
  /** Invocations across the other side's rows and the columns of the sums, a multiple of 4. */
  readonly columns: number;
  /** Dimensions, and then rows of the other side, per step through workgroup memory; 4, 8 or 16. */
  readonly slice: number;
}

/** Vectors of sums per invocation and row, for `size` columns. */
function spreadOf(size: number, { columns }: GradientTile): number {
  return Math.ceil(size / 4 / columns);
}

/** Vectors of workgroup memory that staged operands take. */
export function stagedVectors(tile: GradientTile, widest: number): number {
  const { rows, columns, slice } = tile;
  return slice * Math.max(2 * rows + 1 + columns + 1, spreadOf(widest, tile) * columns);
}

/** Bytes of workgroup memory that a tile takes. */
function tileBytes(tile: GradientTile, widest: number): number {
  return 16 * (stagedVectors(tile, widest) + 4 * tile.columns * (2 * tile.rows + 1));
}

/** The largest tile that fits a device. The last one fits what every WebGPU device has. */
export function chooseGradientTile(
  { headSize, valueSize }: AttentionGradientConstants,
  { workgroupMemory }: { readonly workgroupMemory: number },
): GradientTile {
  const widest = Math.max(headSize, valueSize), vectors = Math.ceil(widest / 4);
  const columns = Math.max(8, 4 * Math.ceil(vectors / Math.ceil(vectors / 16) / 4));
  // Sums of heads wider than 64 take twice the registers and more.
  const tiles = ([[8, 16], [4, 16], [4, 8], [4, 4]] as const)
    .filter(([rows]) => rows === 4 || vectors <= 16)
    .map(([rows, slice]): GradientTile => ({ rows, columns, slice }));
  return tiles.find((tile) => tileBytes(tile, widest) <= workgroupMemory) ?? tiles.at(-1)!;
}

/** What the generators of source share. */
export interface Plan extends GradientTile {
  readonly constants: AttentionGradientConstants;
  readonly vectors: boolean;
  readonly threads: number;
  /** Rows of the other side per block. */
  readonly block: number;
  /** Vectors along the own rows of a workgroup, and their indices within an invocation. */
  readonly groups: number;
  readonly own: readonly number[];
  /** Own rows of an invocation. */
  readonly each: readonly number[];
}

/** The plan of a tile. */
export function planOf(
  constants: AttentionGradientConstants,
  tile: GradientTile,
  vectors: boolean,
): Plan {
  const { rows, columns } = tile;
  return {
    ...tile,
    constants,
    vectors,
    threads: 8 * columns,
    block: 4 * columns,
    groups: 2 * rows,
    own: numbers(rows / 4),
    each: numbers(rows),
  };
}

/** How rows of an operand are read: a function of the source, and the start of the row of an index. */
export type Rows = readonly [string, (index: string) => string];

const lane = (r: number) => "xyzw"[r % 4]!;

/** A function that reads four elements of a row, zeros beyond `size`. */
export function reader(name: string, array: string, size: number, vectors: boolean): string {
  const value = vectors
    ? `select(vec4<f32>(), ${array}[(row + d) / 4u], d < ${size}u)`
    : `vec4<f32>(${
      numbers(4).map((i) => `select(0.0, ${array}[row + d + ${i}u], d + ${i}u < ${size}u)`)
        .join(", ")
    })`;
  return `fn ${name}(row: u32, d: u32) -> vec4<f32> { return ${value}; }`;
}

/** Source of NAME_r, four products of own row r with the other side's rows j + 4 over + (0, 1, 2, 3). */
export function products(
  { rows, columns, slice, threads, groups, own, each }: Plan,
  name: string,
  [readOwn, ownRow]: Rows,
  [readOther, otherRow]: Rows,
  size: number,
): string {
  const ownLine = groups + 1, otherLine = columns + 1;
  return `
    ${each.map((r) => `var ${name}_${r} = vec4<f32>();`).join(" ")}
    for (var d = 0u; d < ${size}u; d += ${slice}u) {
      workgroupBarrier();
      for (var unit = t; unit < ${(groups + columns) * slice / 4}u; unit += ${threads}u) {
        let at = unit % ${slice / 4}u;
        let line = unit / ${slice / 4}u;
        let e = d + 4u * at;
        var a: mat4x4<f32>;
        var to = 4u * at * ${ownLine}u + line;
        var step = ${ownLine}u;
        if (line < ${groups}u) {
          ${
    numbers(4).map((i) => `a[${i}] = ${readOwn}(${ownRow(`first + 4u * line + ${i}u`)}, e);`)
      .join("\n          ")
  }
        } else {
          let k = line - ${groups}u;
          ${
    numbers(4).map((i) => `a[${i}] = ${readOther}(${otherRow(`j + 4u * k + ${i}u`)}, e);`)
      .join("\n          ")
  }
          to = ${slice * ownLine}u + 4u * at * ${otherLine}u + k;
          step = ${otherLine}u;
        }
        a = transpose(a);
        ${numbers(4).map((i) => `staged[to + ${i}u * step] = a[${i}];`).join(" ")}
      }
      workgroupBarrier();
      ${
    numbers(slice).map((e) =>
      `{
        let k = staged[${slice * ownLine + e * otherLine}u + over];
        ${
        own.map((g) => `let x_${g} = staged[${e * ownLine + g}u + down * ${rows / 4}u];`).join(" ")
      }
        ${each.map((r) => `${name}_${r} += x_${Math.floor(r / 4)}.${lane(r)} * k;`).join(" ")}
      }`
    ).join("\n      ")
  }
    }`;
}

/** Source of SUM_r_x += FACTOR_r times the other side's rows; `also` runs while all factors lie in workgroup memory. */
export function accumulate(
  plan: Plan,
  sum: string,
  factor: string,
  [readOther, otherRow]: Rows,
  size: number,
  also = "",
): string {
  const { rows, columns, slice, threads, block, groups, own, each } = plan;
  const line = groups + 1, spread = spreadOf(size, plan), across = numbers(spread);
  return `
    workgroupBarrier();
    ${
    own.flatMap((g) =>
      numbers(4).map((c) =>
        `weights[(4u * over + ${c}u) * ${line}u + down * ${rows / 4}u + ${g}u] = vec4<f32>(${
          numbers(4).map((i) => `${factor}_${4 * g + i}.${lane(c)}`).join(", ")
        });`
      )
    ).join("\n    ")
  }${also}
    for (var part = 0u; part < ${block}u && j + part < end; part += ${slice}u) {
      workgroupBarrier();
      for (var unit = t; unit < ${slice * spread * columns}u; unit += ${threads}u) {
        staged[unit] = ${readOther}(${otherRow(`j + part + unit / ${spread * columns}u`)}, unit % ${
    spread * columns
  }u * 4u);
      }
      workgroupBarrier();
      ${
    numbers(slice).map((k) =>
      `{
        ${
        own.map((g) =>
          `let f_${g} = weights[(part + ${k}u) * ${line}u + down * ${rows / 4}u + ${g}u];`
        ).join(" ")
      }
        ${
        across.map((x) => `let y_${x} = staged[${(k * spread + x) * columns}u + over];`).join(" ")
      }
        ${
        each.flatMap((r) =>
          across.map((x) => `${sum}_${r}_${x} += f_${Math.floor(r / 4)}.${lane(r)} * y_${x};`)
        ).join(" ")
      }
      }`
    ).join("\n      ")
  }
    }`;
}

/** Source that writes SUM_r_x times `factor`, or adds it, to row `to` of own row r. */
export function store(
  plan: Plan,
  array: string,
  sum: string,
  r: number,
  size: number,
  factor: string,
  adding: boolean,
): string {
  const put = adding ? "+=" : "=";
  return numbers(spreadOf(size, plan)).map((x) =>
    `{
      let column = 4u * (over + ${x * plan.columns}u);
      let result = ${sum}_${r}_${x}${factor};
      ${
      plan.vectors
        ? `if (column < ${size}u) { ${array}[(to + column) / 4u] ${put} result; }`
        : numbers(4).map((i) =>
          `if (column + ${i}u < ${size}u) { ${array}[to + column + ${i}u] ${put} result[${i}]; }`
        ).join("\n      ")
    }
    }`
  ).join("\n    ");
}

/** Source that sums the gradients of the scores in workgroup memory over rows and columns of the raster. */
export function sumRelative({ rows, threads, block, groups }: Plan): string {
  return `
    workgroupBarrier();
    for (var unit = t; unit < ${8 * rows}u * side; unit += ${threads}u) {
      let i = unit / side;
      let c = unit % side;
      if (first + i >= params.queries) { break; }
      var k = max(j, c * params.gridWidth);
      var last = min(min(j + ${block}u, end), (c + 1u) * params.gridWidth);
      var step = 1u;
      if (c >= params.gridHeight) {
        let x = c - params.gridHeight;
        step = params.gridWidth;
        k = j + (x + step - j % step) % step;
        last = min(j + ${block}u, end);
      }
      if (k >= last) { continue; }
      var sum = 0.0;
      for (; k < last; k += step) { sum += weights[(k - j) * ${groups + 1}u + i / 4u][i % 4u]; }
      relativeGradient[(item + first + i) * side + c] += sum;
    }`;
}

/** Sums of own rows, zero. */
export function zeros(plan: Plan, sum: string, size: number): string {
  return plan.each.flatMap((r) =>
    numbers(spreadOf(size, plan)).map((x) => `var ${sum}_${r}_${x} = vec4<f32>();`)
  ).join(" ");
}
