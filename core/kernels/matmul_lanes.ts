/**
 * Matrix products for adapters that run on a CPU (lavapipe, SwiftShader), where an invocation is one SIMD lane and a
 * load with differing addresses costs a scalar load per lane: no shared memory, no barriers, wide register tiles, and
 * every loaded value used by all lanes.
 *
 * A workgroup is one subgroup of 8 lanes. Lane l owns row l of `panels` panels of the right operand, so packed weights
 * stream through in order. Values of the left operand are loaded once, spread over the lanes, and handed round with
 * `subgroupBroadcast`: per step of four k, `rows / 8` loads of x and `panels` loads of w feed `32 * rows * panels`
 * multiply-adds. Adapters without subgroups of 8 or more load x in every lane instead.
 *
 * Traffic per dispatch: w once per `rows` output rows, x once per `8 * panels` output columns. FLOPs: 2 M N K.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import {
  granuleWgsl,
  type Product,
  productArrays,
  productFunctions,
  productKey,
  productParameters,
  unroll,
} from "./matmul_operands.ts";
import { productHost } from "./matmul_host.ts";

/** Size of the register tile of a lane program. */
export interface LaneTile {
  /** Rows of the output per workgroup: 1 to 4, or a multiple of 8. */
  readonly rows: number;
  /** Columns of the output per workgroup, in panels of 8. */
  readonly panels: number;
  /** Hand x round with `subgroupBroadcast`: needs subgroups of at least 8. */
  readonly broadcast: boolean;
}

const entry = /* wgsl */ `
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {`;

const cells = (rows: number, panels: number, line: (r: number, c: number) => string): string =>
  unroll(rows, (r) => unroll(panels, (c) => line(r, c)));

/** Column, operand base and (for masked columns) clamping of every panel. */
const columnsOf = (panels: number): string =>
  unroll(
    panels,
    (c) =>
      `let n${c} = min((group.x * ${panels}u + ${c}u) * 8u + lane, params.columns - 1u);
  let w${c} = rightBase(group.z, n${c});`,
  );

/** The low-rank update and the stores, after the sums `a{r}_{c}` of the rows from `m` on are complete. */
function ending(product: Product, { rows, panels, broadcast }: LaneTile): string {
  const spread = broadcast && rows % 8 === 0;
  const load = (row: string) => `h[min(m + ${row}, limit - 1u) * params.rank + j]`;
  const update = `
  for (var j = 0u; j < params.rank; j++) {
    ${unroll(panels, (c) => `let b${c} = b[(params.outColumn + n${c}) * params.rank + j];`)}
    ${spread ? unroll(rows / 8, (i) => `let h${i} = ${load(`${8 * i}u + lane`)};`) : ""}
    ${
    unroll(rows, (r) =>
      `{ let v = ${spread ? `subgroupBroadcast(h${r >> 3}, ${r & 7}u)` : load(`${r}u`)};
      ${
        unroll(panels, (c) => `a${r}_${c} += v * b${c};`)
      } }`)
  }
  }`;
  // One copy of the epilogue in a loop instead of one per sum: compilers of CPU adapters take seconds for the latter.
  const stores = `
  var sums: array<f32, ${rows * panels}>;
  ${cells(rows, panels, (r, c) => `sums[${panels * r + c}] = a${r}_${c};`)}
  for (var i = 0u; i < ${rows * panels}u; i++) {
    let r = m + i / ${panels}u;
    let n = (group.x * ${panels}u + i % ${panels}u) * 8u + lane;
    if (r < limit && n < params.columns) { store(group.z, r, n, sums[i]); }
  }`;
  return (product.lora ? update : "") + stores;
}

/**
 * The product for five rows and more: lane l loads x of rows l, 8 + l, …, one run of four k at a time.
 * Dispatch [ceil(N / (8 panels)), ceil(M / rows), batch].
 */
export function laneTileProgram(product: Product, tile: LaneTile): Program {
  const { rows, panels, broadcast } = tile;
  const { scaled } = granuleWgsl(product.right);
  const loads = broadcast ? rows / 8 : rows;
  const step = `
    ${unroll(panels, (c) => `let v${c} = weightRun(w${c}, k4)${scaled ? ` * s${c}` : ""};`)}
    ${unroll(loads, (i) => `let x${i} = leftRun(x${i}Base, k4);`)}
    ${
    unroll(rows, (r) =>
      `{ let v = ${broadcast ? `subgroupBroadcast(x${r >> 3}, ${r & 7}u)` : `x${r}`};
      ${
        unroll(panels, (c) => `a${r}_${c} += dot(v, v${c});`)
      } }`)
  }`;
  return program(
    `matmul lanes ${rows}x${panels}${broadcast ? " broadcast" : ""} ${productKey(product)}`,
    () => ({
      arrays: productArrays(product),
      parameters: productParameters,
      subgroups: broadcast,
      wgsl: /* wgsl */ `
${productFunctions(product)}
${entry}
  let limit = rowLimit();
  let m = group.y * ${rows}u;
  if (m >= limit) { return; }
  ${columnsOf(panels)}
  ${
        unroll(
          loads,
          (i) =>
            `let x${i}Base = leftBase(group.z, sourceRow(min(m + ${
              broadcast ? `${8 * i}u + lane` : `${i}u`
            }, limit - 1u)));`,
        )
      }
  ${cells(rows, panels, (r, c) => `var a${r}_${c} = 0.0;`)}
  ${
        scaled
          ? `for (var block = 0u; block < params.blocks; block++) {
    ${unroll(panels, (c) => `let s${c} = weightScale(n${c}, block);`)}
    for (var k4 = 8u * block; k4 < 8u * block + 8u; k4++) { ${step} }
  }`
          : `for (var k4 = 0u; k4 < params.steps; k4++) { ${step} }`
      }
  ${ending(product, tile)}
}`,
      host: productHost(product),
    }),
  );
}

/**
 * The product for one to four rows: lane l loads the l-th run of a block of 32 k, so that one load of x serves the whole
 * block. Dispatch [ceil(N / (8 panels)), ceil(M / rows), batch]; `steps` is a multiple of 8.
 */
export function laneVectorProgram(product: Product, tile: LaneTile): Program {
  const { rows, panels, broadcast } = tile;
  const { load, runs, run, scaled } = granuleWgsl(product.right);
  const perBlock = 8 / runs;
  const target = (r: number, c: number) => scaled ? `t${r}_${c}` : `a${r}_${c}`;
  const granule = (g: number) => `
    ${unroll(panels, (c) => `let g${g}_${c} = ${load(`w${c}`, `${perBlock}u * block + ${g}u`)};`)}
    ${
    unroll(runs, (i) => {
      const k = g * runs + i;
      return `{ ${unroll(panels, (c) => `let v${c} = ${run(`g${g}_${c}`, i)};`)}
      ${
        unroll(rows, (r) =>
          `{ let v = ${
            broadcast ? `subgroupBroadcast(x${r}, ${k}u)` : `leftRun(x${r}Base, 8u * block + ${k}u)`
          };
        ${
            unroll(panels, (c) => `${target(r, c)} += dot(v, v${c});`)
          } }`)
      } }`;
    })
  }`;
  return program(
    `matmul lane vector ${rows}x${panels}${broadcast ? " broadcast" : ""} ${productKey(product)}`,
    () => ({
      arrays: productArrays(product),
      parameters: productParameters,
      subgroups: broadcast,
      wgsl: /* wgsl */ `
${productFunctions(product)}
${entry}
  let limit = rowLimit();
  let m = group.y * ${rows}u;
  if (m >= limit) { return; }
  ${columnsOf(panels)}
  ${
        unroll(
          rows,
          (r) => `let x${r}Base = leftBase(group.z, sourceRow(min(m + ${r}u, limit - 1u)));`,
        )
      }
  ${cells(rows, panels, (r, c) => `var a${r}_${c} = 0.0;`)}
  for (var block = 0u; block < (params.steps >> 3u); block++) {
    ${broadcast ? unroll(rows, (r) => `let x${r} = leftRun(x${r}Base, 8u * block + lane);`) : ""}
    ${scaled ? cells(rows, panels, (r, c) => `var t${r}_${c} = 0.0;`) : ""}
    ${unroll(perBlock, granule)}
    ${
        scaled
          ? unroll(panels, (c) =>
            `{ let s = weightScale(n${c}, block);
      ${unroll(rows, (r) => `a${r}_${c} += s * t${r}_${c};`)} }`)
          : ""
      }
  }
  ${ending(product, tile)}
}`,
      host: productHost(product),
    }),
  );
}
