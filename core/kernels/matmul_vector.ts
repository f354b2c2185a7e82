/**
 * Matrix products of few rows on a GPU: bound by reading the right operand once.
 *
 * A workgroup of 256 owns one panel of 8 outputs: 8 rows times 32 parts of K. Neighbouring invocations read neighbouring
 * rows of a panel and then neighbouring granules, so a step of the workgroup reads 4 KiB of a packed weight in order.
 * Values are unpacked in registers and serve up to four rows of x at once; the 32 partial sums of each output meet in
 * workgroup memory in two steps.
 *
 * Traffic: w once per four rows, x from the cache. FLOPs: 2 M N K.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { productHost } from "./matmul_host.ts";
import {
  granuleWgsl,
  type Product,
  productArrays,
  productFunctions,
  productKey,
  productParameters,
  unroll,
} from "./matmul_operands.ts";

/** Dispatch [ceil(N / 8), ceil(M / rows), batch]; `rows` is 1, 2 or 4. */
export function vectorProgram(product: Product, rows: 1 | 2 | 4): Program {
  const { load, runs, run, scaled } = granuleWgsl(product.right);
  const target = (r: number) => scaled ? `t${r}` : `a${r}`;
  return program(`matmul vector ${rows} ${productKey(product)}`, () => ({
    arrays: productArrays(product),
    parameters: productParameters,
    wgsl: /* wgsl */ `
${productFunctions(product)}
var<workgroup> sums: array<f32, ${256 * rows}>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let limit = rowLimit();
  let m = group.y * ${rows}u;
  if (m >= limit) { return; }
  let part = t >> 3u;
  let n = min(group.x * 8u + (t & 7u), params.columns - 1u);
  let base = rightBase(group.z, n);
  ${
      unroll(
        rows,
        (r) =>
          `let x${r} = leftBase(group.z, sourceRow(min(m + ${r}u, limit - 1u)));
  var a${r} = 0.0;`,
      )
    }
  for (var g = part; g < params.granules; g += 32u) {
    let granule = ${load("base", "g")};
    ${scaled ? unroll(rows, (r) => `var t${r} = 0.0;`) : ""}
    ${
      unroll(runs, (i) =>
        `{ let v = ${run("granule", i)};
      ${unroll(rows, (r) => `${target(r)} += dot(v, leftRun(x${r}, ${runs}u * g + ${i}u));`)} }`)
    }
    ${
      scaled
        ? `let s = weightScale(n, (g * ${runs}u) >> 3u);
    ${unroll(rows, (r) => `a${r} += s * t${r};`)}`
        : ""
    }
  }
  ${
      product.lora
        ? `for (var j = part; j < params.rank; j += 32u) {
    let v = b[(params.outColumn + n) * params.rank + j];
    ${unroll(rows, (r) => `a${r} += v * h[min(m + ${r}u, limit - 1u) * params.rank + j];`)}
  }`
        : ""
    }
  ${unroll(rows, (r) => `sums[${256 * r}u + t] = a${r};`)}
  workgroupBarrier();
  if (t < 64u) {
    ${
      unroll(rows, (r) => {
        const at = (i: number) => `sums[${256 * r + 64 * i}u + t]`;
        return `sums[${256 * r}u + t] = (${at(0)} + ${at(1)}) + (${at(2)} + ${at(3)});`;
      })
    }
  }
  workgroupBarrier();
  let row = t >> 3u;
  if (row < ${rows}u && m + row < limit && group.x * 8u + (t & 7u) < params.columns) {
    let start = 256u * row + (t & 7u);
    var sum = 0.0;
    ${unroll(8, (i) => `sum += sums[start + ${8 * i}u];`)}
    store(group.z, m + row, n, sum);
  }
}`,
    host: productHost(product),
  }));
}
