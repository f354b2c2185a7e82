/**
 * Attention for adapters that run on the CPU: a lane owns whole queries, nothing is shared but what a subgroup broadcasts.
 *
 * On such adapters barriers split the compiled loop and every load is a loop over the lanes, so a workgroup is one
 * subgroup, its lanes load consecutive elements of a key or value row at once, and broadcasts hand the elements round.
 * Queries and sums live in registers, fully unrolled. FLOPs and traffic: see `attention.ts`; k and v are read once per
 * `lanes * rows` queries.
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

/** Shape of the work of one lane. */
export interface LaneTile {
  /** Lanes per workgroup. With `broadcast` exactly the size of a subgroup. */
  readonly lanes: number;
  /** Queries per lane. */
  readonly rows: number;
  /** Keys between two updates of the running maximum. */
  readonly keys: number;
  /** Load rows with one element per lane and broadcast them; needs subgroups of a single size. */
  readonly broadcast: boolean;
}

/** Dispatch batch * heads * ceil(queries / (lanes * rows)) workgroups. */
export function attentionLanes(constants: AttentionConstants, tile: LaneTile): Program {
  const { headSize, valueSize, causal, padded, relative } = constants;
  const { lanes, rows, keys, broadcast } = tile;
  const variant = `lanes ${lanes} rows ${rows} keys ${keys}${broadcast ? " broadcast" : ""}`;

  const loadRow = rowLoader(broadcast ? lanes : 0);

  const setUp = numbers(rows).flatMap((r) => [
    `let i_${r} = first + ${r * lanes}u + lane;`,
    `let q_${r} = min(i_${r}, params.queries - 1u);`,
    `let at_${r} = params.queryOffset + (b * params.queries + q_${r}) * params.queryStride + h * ${headSize}u;`,
    ...numbers(headSize).map((d) => `let q_${r}_${d} = query[at_${r} + ${d}u] * factor;`),
    ...numbers(valueSize).map((d) => `var o_${r}_${d} = 0.0;`),
    `var highest_${r} = f32(${lowest});`,
    `var sum_${r} = 0.0;`,
    ...(relative
      ? [
        `let table_${r} = ((b * params.heads + h) * params.queries + q_${r}) * (params.gridHeight + params.gridWidth);`,
      ]
      : []),
    ...(causal ? [`let last_${r} = i32(q_${r}) + params.shift;`] : []),
  ]);

  const scores = numbers(keys).flatMap((u) => {
    const { lines, element } = loadRow("key", `k${u}`, `keyRow_${u}`, headSize);
    return [
      `let j_${u} = min(j + ${u}u, end - 1u);`,
      `let keyRow_${u} = keyStart + j_${u} * params.keyStride;`,
      ...lines,
      ...numbers(rows).map((r) => `var s_${r}_${u} = 0.0;`),
      ...numbers(headSize).flatMap((d) => [
        `let k${u}e_${d} = ${element(d)};`,
        ...numbers(rows).map((r) => `s_${r}_${u} += q_${r}_${d} * k${u}e_${d};`),
      ]),
      ...numbers(rows).flatMap((r) => [
        ...(relative
          ? [
            `s_${r}_${u} += (relative[table_${r} + j_${u} / params.gridWidth] + ` +
            `relative[table_${r} + params.gridHeight + j_${u} % params.gridWidth]) * ${log2e};`,
          ]
          : []),
        `let seen_${r}_${u} = j + ${u}u < end${causal ? ` && i32(j + ${u}u) <= last_${r}` : ""};`,
        `s_${r}_${u} = select(f32(${lowest}), s_${r}_${u}, seen_${r}_${u});`,
      ]),
    ];
  });

  const softmax = numbers(rows).flatMap((r) => [
    `let before_${r} = highest_${r};`,
    ...numbers(keys).map((u) => `highest_${r} = max(highest_${r}, s_${r}_${u});`),
    `let shrink_${r} = exp2(before_${r} - highest_${r});`,
    ...numbers(keys).map((u) =>
      `let p_${r}_${u} = select(0.0, exp2(s_${r}_${u} - highest_${r}), seen_${r}_${u});`
    ),
    `sum_${r} = sum_${r} * shrink_${r} + ${numbers(keys).map((u) => `p_${r}_${u}`).join(" + ")};`,
  ]);

  const values = numbers(keys).map((u) =>
    loadRow("value", `v${u}`, `(valueStart + j_${u} * params.valueStride)`, valueSize)
  );
  const accumulate = [
    ...values.flatMap(({ lines }) => lines),
    ...numbers(valueSize).flatMap((d) => [
      ...values.map(({ element }, u) => `let v${u}e_${d} = ${element(d)};`),
      ...numbers(rows).map((r) =>
        `o_${r}_${d} = o_${r}_${d} * shrink_${r}${
          numbers(keys).map((u) => ` + p_${r}_${u} * v${u}e_${d}`).join("")
        };`
      ),
    ]),
  ];

  const store = numbers(rows).map((r) => `
  if (i_${r} < params.queries) {
    let to = ((b * params.queries + i_${r}) * params.heads + h) * ${valueSize}u;
    let inverse = select(0.0, 1.0 / sum_${r}, sum_${r} > 0.0);
    ${numbers(valueSize).map((d) => `output[to + ${d}u] = o_${r}_${d} * inverse;`).join("\n    ")}
  }`);

  return program(attentionKey(variant, constants), () => ({
    arrays: attentionArrays,
    parameters: attentionParameters,
    subgroups: broadcast,
    wgsl: /* wgsl */ `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(${broadcast ? "subgroup_invocation_id" : "local_invocation_index"}) lane: u32) {
  let blocks = (params.queries + ${lanes * rows - 1}u) / ${lanes * rows}u;
  let index = workgroupIndex(group, groups);
  let first = (index % blocks) * ${lanes * rows}u;
  let h = (index / blocks) % params.heads;
  let b = index / blocks / params.heads;
  if (b >= params.batch) { return; }
  let factor = params.scale * ${log2e};
  var end = params.keys;
  ${padded ? "end = min(end, lengths[b]);" : ""}
  ${causal ? `end = u32(clamp(i32(first + ${lanes * rows}u) + params.shift, 0, i32(end)));` : ""}
  let keyStart = params.keyOffset + b * params.keys * params.keyStride + h / params.group * ${headSize}u;
  let valueStart = params.valueOffset + b * params.keys * params.valueStride + h / params.group * ${valueSize}u;
  ${setUp.join("\n  ")}
  for (var j = 0u; j < end; j += ${keys}u) {
    ${[...scores, ...softmax, ...accumulate].join("\n    ")}
  }${store.join("")}
}`,
    host: attentionHost(constants),
  }));
}
