/**
 * Gradient of attention for GPUs: a workgroup owns a tile of queries, or of keys, and streams the other side through workgroup
 * memory (Dao 2023, FlashAttention-2, algorithm 2, here with one pass for dq and one for dk and dv).
 *
 * A workgroup is 8 by `columns` invocations and owns 8 `rows` rows x and z (side `query`: q and do; side `key`: k and v). For
 * every block of 4 `columns` rows y and w of the other side (k and v; q and do), each invocation
 *   1. multiplies register tiles of `rows` own rows by 4 others, s = x . y and t = z . w, a slice of `slice` dimensions at a
 *      time,
 *   2. takes p and ds of its tile, and leaves them in workgroup memory, one after the other,
 *   3. adds ds times y, and for keys before that p times w, to register tiles of `rows` own rows by 4 columns times as many as
 *      the head needs, `slice` rows at a time.
 * Tiles lie transposed in workgroup memory with one vector of padding per line, as in `attention_tiles.ts`. FLOPs and
 * traffic: see `attention_gradient.ts`.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { log2e, numbers } from "./attention.ts";
import {
  attentionGradientArrays,
  type AttentionGradientConstants,
  attentionGradientHost,
  attentionGradientKey,
  attentionGradientParameters,
  type GradientSide,
} from "./attention_gradient.ts";
import {
  accumulate,
  type GradientTile,
  type Plan,
  planOf,
  products,
  reader,
  type Rows,
  stagedVectors,
  store,
  sumRelative,
  zeros,
} from "./attention_gradient_parts.ts";

/**
 * Side `query`: dispatch batch * heads * ceil(queries / (8 rows)) workgroups; side `key`: batch * keyHeads *
 * ceil(keys / (8 rows)).
 *
 * @param vectors Rows are read and written as vectors of four: all offsets, strides and head sizes are multiples of 4.
 */
export function attentionGradientTiles(
  side: GradientSide,
  constants: AttentionGradientConstants,
  tile: GradientTile,
  vectors: boolean,
): Program {
  const { headSize, valueSize } = constants, { rows, columns, slice } = tile;
  const plan = planOf(constants, tile, vectors);
  const variant = `tiles ${8 * rows} by ${plan.block} slice ${slice}${vectors ? " vectors" : ""}`;
  return program(attentionGradientKey(side, variant, constants), () => ({
    arrays: attentionGradientArrays(side, constants, vectors),
    parameters: attentionGradientParameters,
    wgsl: /* wgsl */ `
var<workgroup> staged: array<vec4<f32>, ${stagedVectors(tile, Math.max(headSize, valueSize))}>;
var<workgroup> weights: array<vec4<f32>, ${plan.block * (plan.groups + 1)}>;
${reader("readQuery", "query", headSize, vectors)}
${reader("readKey", "key", headSize, vectors)}
${reader("readValue", "value", valueSize, vectors)}
${reader("readGradient", "gradient", valueSize, vectors)}

@compute @workgroup_size(${plan.threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
  let index = workgroupIndex(group, groups);
  let down = t / ${columns}u;
  let over = t % ${columns}u;
  let factor = params.scale * ${log2e};
  let side = params.gridHeight + params.gridWidth;
  ${side === "query" ? queryBody(plan) : keyBody(plan)}
}`,
    host: attentionGradientHost(side, constants),
  }));
}

/** Rows of the four operands, the last one repeated; `keys` is how many keys may be read. */
function operands(
  valueSize: number,
  keys: string,
): Record<"query" | "key" | "value" | "gradient", Rows> {
  const query = (i: string) => `min(${i}, params.queries - 1u)`;
  const key = (j: string) => `min(${j}, ${keys} - 1u)`;
  return {
    query: ["readQuery", (i) => `queryStart + ${query(i)} * params.queryStride`],
    key: ["readKey", (j) => `keyStart + ${key(j)} * params.keyStride`],
    value: ["readValue", (j) => `valueStart + ${key(j)} * params.valueStride`],
    gradient: ["readGradient", (i) => `gradientStart + ${query(i)} * params.heads * ${valueSize}u`],
  };
}

function queryBody(plan: Plan): string {
  const { headSize, valueSize, causal, padded, relative } = plan.constants;
  const { rows, threads, block, each } = plan, owned = 8 * rows;
  const { query, key, value, gradient } = operands(valueSize, "end");
  return `let blocks = (params.queries + ${owned - 1}u) / ${owned}u;
  let first = (index % blocks) * ${owned}u;
  let h = (index / blocks) % params.heads;
  let b = index / blocks / params.heads;
  if (b >= params.batch) { return; }
  var end = params.keys;
  ${padded ? "end = min(end, lengths[b]);" : ""}
  ${causal ? `end = u32(clamp(i32(first + ${owned}u) + params.shift, 0, i32(end)));` : ""}
  let item = (b * params.heads + h) * params.queries;
  let queryStart = params.queryOffset + b * params.queries * params.queryStride + h * ${headSize}u;
  let gradientStart = (b * params.queries * params.heads + h) * ${valueSize}u;
  let keyStart = params.keyOffset + b * params.keys * params.keyStride + h / params.group * ${headSize}u;
  let valueStart = params.valueOffset + b * params.keys * params.valueStride + h / params.group * ${valueSize}u;
  ${
    each.map((r) => `
  let i_${r} = first + down * ${rows}u + ${r}u;
  let own_${r} = item + min(i_${r}, params.queries - 1u);
  let statistics_${r} = statistics[own_${r}];`).join("")
  }
  ${zeros(plan, "a", headSize)}
  ${
    relative
      ? `for (var unit = t; unit < min(${owned}u, params.queries - first) * side; unit += ${threads}u) {
    relativeGradient[(item + first) * side + unit] = 0.0;
  }`
      : ""
  }
  for (var j = 0u; j < end; j += ${block}u) {
    ${products(plan, "s", query, key, headSize)}
    ${products(plan, "t", gradient, value, valueSize)}
    let key_0 = vec4<u32>(j + 4u * over) + vec4<u32>(0u, 1u, 2u, 3u);
    ${
    each.map((r) => `
    let log_${r} = s_${r} * factor${
      relative
        ? ` + ${log2e} * vec4<f32>(${
          numbers(4).map((c) =>
            `relative[own_${r} * side + min(key_0[${c}], params.keys - 1u) / params.gridWidth] + ` +
            `relative[own_${r} * side + params.gridHeight + key_0[${c}] % params.gridWidth]`
          ).join(", ")
        })`
        : ""
    } - statistics_${r}.x;
    let seen_${r} = (key_0 < vec4<u32>(end))${
      causal ? ` & (vec4<i32>(key_0) <= vec4<i32>(i32(i_${r}) + params.shift))` : ""
    };
    let p_${r} = select(vec4<f32>(), exp2(min(log_${r}, vec4<f32>())), seen_${r});
    let ds_${r} = p_${r} * (t_${r} - statistics_${r}.y);`).join("")
  }
    ${accumulate(plan, "a", "ds", key, headSize, relative ? sumRelative(plan) : "")}
  }
  ${
    each.map((r) =>
      `if (i_${r} < params.queries) {
    let to = queryStart + i_${r} * params.queryStride;
    ${store(plan, "queryGradient", "a", r, headSize, " * params.scale", false)}
  }`
    ).join("\n  ")
  }`;
}

function keyBody(plan: Plan): string {
  const { headSize, valueSize, causal, padded, relative, together, adding } = plan.constants;
  const { rows, block, each } = plan, owned = 8 * rows;
  const { query, key, value, gradient } = operands(valueSize, "params.keys");
  const seen = (r: number) =>
    [
      "(i_0 < vec4<u32>(end))",
      ...(padded ? [`vec4<bool>(j_${r} < lengths[b])`] : []),
      ...(causal ? [`(vec4<i32>(i32(j_${r})) <= vec4<i32>(i_0) + params.shift)`] : []),
    ].join(" & ");
  return `let blocks = (params.keys + ${owned - 1}u) / ${owned}u;
  let first = (index % blocks) * ${owned}u;
  let keyHeads = params.heads / params.group;
  let keyHead = (index / blocks) % keyHeads;
  let b = index / blocks / keyHeads;
  if (b >= params.batch) { return; }
  // Queries from here to there see some of these keys.
  var start = 0u;
  ${causal ? "start = u32(max(0, i32(first) - params.shift));" : ""}
  ${padded ? "if (first >= lengths[b]) { start = params.queries; }" : ""}
  let end = params.queries;
  let keyStart = params.keyOffset + b * params.keys * params.keyStride + keyHead * ${headSize}u;
  let valueStart = params.valueOffset + b * params.keys * params.valueStride + keyHead * ${valueSize}u;
  ${each.map((r) => `let j_${r} = first + down * ${rows}u + ${r}u;`).join("\n  ")}
  ${zeros(plan, "a", headSize)}
  ${zeros(plan, "v", valueSize)}
  for (var member = params.firstMember; member < params.firstMember + params.members; member += 1u) {
    let h = keyHead * params.group + member;
    let item = (b * params.heads + h) * params.queries;
    let queryStart = params.queryOffset + b * params.queries * params.queryStride + h * ${headSize}u;
    let gradientStart = (b * params.queries * params.heads + h) * ${valueSize}u;
    for (var j = start; j < end; j += ${block}u) {
    ${products(plan, "s", key, query, headSize)}
    ${products(plan, "t", value, gradient, valueSize)}
    let i_0 = vec4<u32>(j + 4u * over) + vec4<u32>(0u, 1u, 2u, 3u);
    let items = vec4<u32>(item) + min(i_0, vec4<u32>(end - 1u));
    ${numbers(4).map((c) => `let own_${c} = statistics[items[${c}]];`).join("\n    ")}
    let logSums = vec4<f32>(${numbers(4).map((c) => `own_${c}.x`).join(", ")});
    let corrections = vec4<f32>(${numbers(4).map((c) => `own_${c}.y`).join(", ")});
    ${
    each.map((r) => `
    let log_${r} = s_${r} * factor${
      relative
        ? ` + ${log2e} * vec4<f32>(${
          numbers(4).map((c) =>
            `relative[items[${c}] * side + min(j_${r}, params.keys - 1u) / params.gridWidth] + ` +
            `relative[items[${c}] * side + params.gridHeight + j_${r} % params.gridWidth]`
          ).join(", ")
        })`
        : ""
    } - logSums;
    let seen_${r} = ${seen(r)};
    let p_${r} = select(vec4<f32>(), exp2(min(log_${r}, vec4<f32>())), seen_${r});
    let ds_${r} = p_${r} * (t_${r} - corrections);`).join("")
  }
    ${accumulate(plan, "v", "p", gradient, valueSize)}
    ${accumulate(plan, "a", "ds", query, headSize)}
    }
  }
  ${
    each.map((r) =>
      `if (j_${r} < params.keys) {
    let token = b * params.keys + j_${r};
    var to = params.keyGradientOffset + token * params.keyStride + keyHead * ${headSize}u;
    ${store(plan, "keyGradient", "a", r, headSize, " * params.scale", adding)}
    to = params.valueGradientOffset + token * params.valueStride + keyHead * ${valueSize}u;
    ${store(plan, together ? "keyGradient" : "valueGradient", "v", r, valueSize, "", adding)}
  }`
    ).join("\n  ")
  }`;
}
