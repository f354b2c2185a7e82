/**
 * Attention for adapters that run on the CPU: a lane owns whole queries, nothing is shared but what a subgroup broadcasts.
 *
 * On such adapters barriers split the compiled loop and every load is a loop over the lanes, so a workgroup is one
 * subgroup, its lanes load consecutive elements of a key or value row at once, and broadcasts hand the elements round.
 * Queries and sums live in registers, fully unrolled: `rows` * (headSize + valueSize) of them per lane, which is what
 * compiling costs. FLOPs and traffic: see `attention.ts`; k and v are read once per `lanes * rows` queries.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import {
  attentionArrays,
  type AttentionConstants,
  attentionHost,
  attentionKey,
  attentionParameters,
  log2e,
  lowest,
  numbers,
  rowLoader,
} from "./attention.ts";

/**
 * Queries per lane. More queries share every load, but compiling takes time that grows faster than the kernel (about 0.4,
 * 0.4 and 1.1 s for 1, 2 and 4 queries of 64 elements), so only much work gets them.
 *
 * @param work Multiply-adds of the whole attention.
 */
export function queriesPerLane({ headSize, valueSize }: AttentionConstants, work: number): number {
  // Registers spill beyond about 600 elements per lane.
  const most = Math.max(1, Math.floor(576 / (headSize + valueSize)));
  return Math.min(most, work > 2 ** 27 ? 8 : work > 2 ** 24 ? 2 : 1);
}

/**
 * Dispatch batch * heads * ceil(queries / (lanes * rows)) workgroups.
 *
 * @param lanes The size of every subgroup.
 * @param rows Queries per lane.
 * @param vectors Rows are read as vectors of four: all offsets, strides and head sizes are multiples of 4.
 */
export function attentionLanes(
  constants: AttentionConstants,
  lanes: number,
  rows: number,
  vectors: boolean,
): Program {
  const { headSize, valueSize, causal, padded, relative, logSums } = constants;
  const loadRow = rowLoader(lanes, vectors);
  const query = numbers(rows).map((r) =>
    rowLoader(0, vectors)("query", `q_${r}`, `at_${r}`, headSize)
  );
  const key = loadRow("key", "k", "keyRow", headSize);
  const value = loadRow("value", "v", "valueRow", valueSize);
  const each = numbers(rows);
  const queries = lanes * rows;

  const setUp = each.flatMap((r) => [
    `let i_${r} = first + ${r * lanes}u + lane;`,
    `let token_${r} = b * params.queries + min(i_${r}, params.queries - 1u);`,
    `let at_${r} = params.queryOffset + token_${r} * params.queryStride + h * ${headSize}u;`,
    ...query[r]!.lines,
    ...numbers(valueSize).map((d) => `var o_${r}_${d} = 0.0;`),
    `var highest_${r} = f32(${lowest});`,
    `var sum_${r} = 0.0;`,
    ...(relative
      ? [
        `let table_${r} = ((b * (params.heads - 1u) + h) * params.queries + token_${r}) * (params.gridHeight + params.gridWidth);`,
      ]
      : []),
  ]);

  const scores = [
    ...each.map((r) => `var s_${r} = 0.0;`),
    ...numbers(headSize).flatMap((d) => [
      `let e_${d} = ${key.element(d)};`,
      ...each.map((r) => `s_${r} += ${query[r]!.element(d)} * e_${d};`),
    ]),
    ...each.map((r) => `s_${r} *= factor;`),
    ...(relative
      ? each.map((r) =>
        `s_${r} += (relative[table_${r} + j / params.gridWidth] + ` +
        `relative[table_${r} + params.gridHeight + j % params.gridWidth]) * ${log2e};`
      )
      : []),
  ];

  const softmax = each.flatMap((r) => [
    ...(causal
      ? [
        `let seen_${r} = i32(j) <= i32(i_${r}) + params.shift;`,
        `s_${r} = select(f32(${lowest}), s_${r}, seen_${r});`,
      ]
      : []),
    `let before_${r} = highest_${r};`,
    `highest_${r} = max(before_${r}, s_${r});`,
    `let shrink_${r} = exp2(before_${r} - highest_${r});`,
    causal
      ? `let p_${r} = select(0.0, exp2(s_${r} - highest_${r}), seen_${r});`
      : `let p_${r} = exp2(s_${r} - highest_${r});`,
    `sum_${r} = sum_${r} * shrink_${r} + p_${r};`,
  ]);

  const accumulate = numbers(valueSize).flatMap((d) => [
    `let f_${d} = ${value.element(d)};`,
    ...each.map((r) => `o_${r}_${d} = o_${r}_${d} * shrink_${r} + p_${r} * f_${d};`),
  ]);

  const store = each.map((r) => `
  if (i_${r} < params.queries) {
    let to = (token_${r} * params.heads + h) * ${valueSize}u;
    let inverse = select(0.0, 1.0 / sum_${r}, sum_${r} > 0.0);
    ${
    logSums
      ? `logSums[(b * params.heads + h) * params.queries + i_${r}] = select(0.0, highest_${r} + log2(sum_${r}), sum_${r} > 0.0);`
      : ""
  }
    ${
    vectors
      ? numbers(valueSize / 4).map((c) =>
        `output[to / 4u + ${c}u] = vec4<f32>(${
          numbers(4).map((i) => `o_${r}_${4 * c + i}`).join(", ")
        }) * inverse;`
      ).join("\n    ")
      : numbers(valueSize).map((d) => `output[to + ${d}u] = o_${r}_${d} * inverse;`).join("\n    ")
  }
  }`);

  return program(
    attentionKey(`lanes ${lanes} rows ${rows}${vectors ? " vectors" : ""}`, constants),
    () => ({
      arrays: attentionArrays(constants, vectors),
      parameters: attentionParameters,
      subgroups: true,
      wgsl: /* wgsl */ `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_invocation_id) lane: u32) {
  let blocks = (params.queries + ${queries - 1}u) / ${queries}u;
  let index = workgroupIndex(group, groups);
  let first = (index % blocks) * ${queries}u;
  let h = (index / blocks) % params.heads;
  let b = index / blocks / params.heads;
  if (b >= params.batch) { return; }
  let factor = params.scale * ${log2e};
  var end = params.keys;
  ${padded ? "end = min(end, lengths[b]);" : ""}
  ${causal ? `end = u32(clamp(i32(first + ${queries}u) + params.shift, 0, i32(end)));` : ""}
  let keyStart = params.keyOffset + b * params.keys * params.keyStride + h / params.group * ${headSize}u;
  let valueStart = params.valueOffset + b * params.keys * params.valueStride + h / params.group * ${valueSize}u;
  ${setUp.join("\n  ")}
  for (var j = 0u; j < end; j += 1u) {
    let keyRow = keyStart + j * params.keyStride;
    let valueRow = valueStart + j * params.valueStride;
    ${[...key.lines, ...value.lines, ...scores, ...softmax, ...accumulate].join("\n    ")}
  }${store.join("")}
}`,
      host: attentionHost(constants),
    }),
  );
}
