/**
 * Matrix products of many rows on a GPU: tiles in workgroup memory, register tiles per invocation.
 *
 * A workgroup of 16 x 16 computes a square tile of 64 or 128 outputs a side, 4x4 or 8x8 per invocation, in steps of 16 k.
 * An invocation fetches four runs of four k of four neighbouring rows, transposes them in registers and stores four
 * vectors along the rows, so that the inner loop reads vectors of both operands; narrow weights are unpacked on the way.
 * The next step's fetch is in flight while the current one is computed. Rows of workgroup memory are one vector longer
 * than needed, which spreads the transposed stores over the banks.
 *
 * Traffic: x once per tile column, w once per tile row. FLOPs: 2 M N K; per k and invocation 2 * side / 64 vector loads
 * feed (side / 16)^2 multiply-adds.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { productHost } from "./matmul_host.ts";
import {
  granuleWgsl,
  isPacked,
  type Product,
  productArrays,
  productFunctions,
  productKey,
  productParameters,
  unroll,
} from "./matmul_operands.ts";

const depth = 16;

/** Dispatch [ceil(N / side), ceil(M / side), batch]. */
export function tileProgram(product: Product, side: 64 | 128): Program {
  const quads = side / 64;
  const stride = side / 4 + 1;
  const { scaled } = granuleWgsl(product.right);
  const fetchSide = (which: "left" | "right") =>
    unroll(
      4,
      (i) =>
        which === "left"
          ? `p${i} = leftRun(base${i}, k4);`
          : `p${i} = weightRun(base${i}, k4)${scaled ? ` * weightScale(n${i}, k4 >> 3u)` : ""};`,
    );
  // Packed operands are padded to whole blocks; behind the end of a tensor come zeros.
  const fetch = `
    let k4 = 4u * step + kq;
    if (${isPacked(product.right) ? "true" : "k4 < params.steps"}) {
      if (t < ${side}u) { ${fetchSide("left")} } else if (t < ${2 * side}u) { ${
    fetchSide("right")
  } }
    } else { ${unroll(4, (i) => `p${i} = vec4<f32>(0.0);`)} }`;
  const store = (target: string) =>
    unroll(4, (i) => {
      const c = "xyzw"[i];
      return `${target}[(4u * kq + ${i}u) * ${stride}u + quad] = vec4<f32>(p0.${c}, p1.${c}, p2.${c}, p3.${c});`;
    });
  const compute = unroll(
    depth,
    (k) =>
      `{ ${
        unroll(quads, (q) =>
          `let a${q} = left[${k * stride + 16 * q}u + ty]; let b${q} = right[${
            k * stride + 16 * q
          }u + tx];`)
      }
    ${
        unroll(
          4 * quads,
          (r) => unroll(quads, (c) => `c${r}_${c} += a${r >> 2}.${"xyzw"[r & 3]} * b${c};`),
        )
      } }`,
  );
  const row = (r: number) => `m + ${64 * (r >> 2) + (r & 3)}u + 4u * ty`;
  const column = (c: number, i: number) => `nBase + ${64 * c + i}u + 4u * tx`;
  const update = `
  for (var j = 0u; j < params.rank; j++) {
    ${
    unroll(quads, (c) =>
      `let b${c} = vec4<f32>(${
        [0, 1, 2, 3].map((i) =>
          `b[(params.outColumn + min(${column(c, i)}, params.columns - 1u)) * params.rank + j]`
        ).join(", ")
      });`)
  }
    ${
    unroll(4 * quads, (r) =>
      `{ let v = h[min(${row(r)}, limit - 1u) * params.rank + j];
      ${unroll(quads, (c) => `c${r}_${c} += v * b${c};`)} }`)
  }
  }`;
  return program(`matmul tile ${side} ${productKey(product)}`, () => ({
    arrays: productArrays(product),
    parameters: productParameters,
    wgsl: /* wgsl */ `
${productFunctions(product)}
var<workgroup> left: array<vec4<f32>, ${depth * stride}>;
var<workgroup> right: array<vec4<f32>, ${depth * stride}>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let limit = rowLimit();
  let m = group.y * ${side}u;
  if (m >= limit) { return; }
  let nBase = group.x * ${side}u;
  let tx = t & 15u;
  let ty = t >> 4u;
  // The first half of the loaders fetches x, the second w: four rows from 4 quad on, four k from 4 kq on.
  let kq = t & 3u;
  let quad = (t & ${side - 1}u) >> 2u;
  ${
      unroll(4, (i) =>
        `var base${i} = 0u;
  let n${i} = min(nBase + 4u * quad + ${i}u, params.columns - 1u);`)
    }
  if (t < ${side}u) {
    ${
      unroll(4, (i) =>
        `base${i} = leftBase(group.z, sourceRow(min(m + 4u * quad + ${i}u, limit - 1u)));`)
    }
  } else {
    ${unroll(4, (i) => `base${i} = rightBase(group.z, n${i});`)}
  }
  ${unroll(4, (i) => `var p${i} = vec4<f32>(0.0);`)}
  ${unroll(4 * quads, (r) => unroll(quads, (c) => `var c${r}_${c} = vec4<f32>(0.0);`))}
  let tiles = (params.steps + 3u) >> 2u;
  { let step = 0u; ${fetch} }
  for (var tile = 0u; tile < tiles; tile++) {
    if (t < ${side}u) { ${store("left")} } else if (t < ${2 * side}u) { ${store("right")} }
    workgroupBarrier();
    if (tile + 1u < tiles) { let step = tile + 1u; ${fetch} }
    ${compute}
    workgroupBarrier();
  }
  ${product.lora ? update : ""}
  ${
      unroll(4 * quads, (r) =>
        `if (${row(r)} < limit) {
    ${
          unroll(quads, (c) =>
            unroll(4, (i) =>
              `if (${column(c, i)} < params.columns) { store(group.z, ${row(r)}, ${
                column(c, i)
              }, c${r}_${c}.${"xyzw"[i]}); }`))
        }
  }`)
    }
}`,
    host: productHost(product),
  }));
}
