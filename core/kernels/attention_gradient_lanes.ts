/**
 * Gradient of attention for adapters that run on the CPU: a lane owns whole queries, or whole keys, and nothing is shared but
 * what a subgroup broadcasts (see `attention_lanes.ts` for why).
 *
 * Both sides are one scheme. A lane keeps `rows` own rows x and z in registers (side `query`: q and do; side `key`: k and v) with
 * their sums, and walks over the other side's rows y and w (k and v; q and do): s = x . y, t = z . w, then sums += ds y,
 * and for keys more sums += p w. Registers per lane and row: 2 headSize + valueSize + 3 for queries, 2 headSize +
 * 2 valueSize + 2 for keys. FLOPs and traffic: see `attention_gradient.ts`.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { type LoadedRow, log2e, numbers, rowLoader } from "./attention.ts";
import {
  attentionGradientArrays,
  type AttentionGradientConstants,
  attentionGradientHost,
  attentionGradientKey,
  attentionGradientParameters,
  type GradientSide,
} from "./attention_gradient.ts";

/** Rows per lane and the time that each takes, measured: rows share every load. */
const rowCosts = [[4, 0.62], [2, 0.7], [1, 1]] as const;

/**
 * Own rows per lane, as many as registers and the time that compiling takes allow (see `queriesPerLane`).
 *
 * @param lanes Invocations of a workgroup.
 * @param owned Queries or keys, whichever the side owns.
 * @param work Multiply-adds of the scores of the whole attention.
 */
export function ownRows(
  side: GradientSide,
  { headSize, valueSize }: AttentionGradientConstants,
  lanes: number,
  owned: number,
  work: number,
): number {
  const registers = 2 * headSize + (side === "query" ? 1 : 2) * valueSize;
  const most = Math.min(576 / registers, work > 2 ** 26 ? 4 : work > 2 ** 20 ? 2 : 1);
  let best = 1, least = Infinity;
  for (const [rows, cost] of rowCosts) {
    // What a workgroup owns beyond the last row is wasted.
    const total = Math.ceil(owned / (lanes * rows)) * rows * cost;
    if ((rows <= most || rows === 1) && total < least) [best, least] = [rows, total];
  }
  return best;
}

/** Source of NAME_r = x_r . y for every own row r, where `own` are loaded rows and `other` is broadcast. */
function products(
  name: string,
  own: readonly LoadedRow[],
  other: LoadedRow,
  size: number,
): string[] {
  return [
    ...own.map((_, r) => `var ${name}_${r} = 0.0;`),
    ...numbers(size).flatMap((d) => [
      `{ let e = ${other.element(d)};`,
      ...own.map((row, r) => `${name}_${r} += ${row.element(d)} * e;`),
      "}",
    ]),
  ];
}

/** Source of SUM_r += FACTOR_r * y. */
function accumulate(
  sum: string,
  factor: string,
  rows: number,
  other: LoadedRow,
  size: number,
): string[] {
  return numbers(size).flatMap((d) => [
    `{ let e = ${other.element(d)};`,
    ...numbers(rows).map((r) => `${sum}_${r}_${d} += ${factor}_${r} * e;`),
    "}",
  ]);
}

/** Source that writes, or adds, NAME_0, NAME_1, … times `factor` to the elements from `to` on. */
function store(
  array: string,
  name: string,
  size: number,
  factor: string,
  vectors: boolean,
  add: boolean,
): string {
  const put = (to: string, value: string) =>
    `${array}[${to}] ${add ? "+=" : "="} ${value}${factor};`;
  return vectors
    ? numbers(size / 4).map((c) =>
      put(
        `to / 4u + ${c}u`,
        `vec4<f32>(${numbers(4).map((i) => `${name}_${4 * c + i}`).join(", ")})`,
      )
    ).join("\n    ")
    : numbers(size).map((d) => put(`to + ${d}u`, `${name}_${d}`)).join("\n    ");
}

/**
 * Side `query`: dispatch batch * heads * ceil(queries / (lanes * rows)) workgroups; side `key`: batch * keyHeads *
 * ceil(keys / (lanes * rows)).
 *
 * @param lanes The size of every subgroup, and of a workgroup.
 * @param rows Own rows per lane.
 * @param vectors Rows are read and written as vectors of four: all offsets, strides and head sizes are multiples of 4.
 */
export function attentionGradientLanes(
  side: GradientSide,
  constants: AttentionGradientConstants,
  lanes: number,
  rows: number,
  vectors: boolean,
): Program {
  const variant = `lanes ${lanes} rows ${rows}${vectors ? " vectors" : ""}`;
  return program(attentionGradientKey(side, variant, constants), () => ({
    arrays: attentionGradientArrays(side, constants, vectors),
    parameters: attentionGradientParameters,
    subgroups: true,
    wgsl: /* wgsl */ `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroupIndex(group, groups);
  let factor = params.scale * ${log2e};
  ${
      (side === "query" ? queryBody : keyBody)(
        constants,
        rowLoader(lanes, vectors),
        lanes,
        rows,
        vectors,
      )
    }
}`,
    host: attentionGradientHost(side, constants),
  }));
}

type Loader = ReturnType<typeof rowLoader>;

/** Source of p_r and ds_r from s_r, t_r, `statistics` (one per row, or one of all) and whether the key is visible. */
function gradients(rows: number, statistics: (r: number) => string, seen?: (r: number) => string) {
  return numbers(rows).flatMap((r) => {
    // Rounding may leave a probability above one; without the bound huge scores could overflow.
    const power = `exp2(min(s_${r}_log - ${statistics(r)}.x, 0.0))`;
    return [
      `let p_${r} = ${seen === undefined ? power : `select(0.0, ${power}, ${seen(r)})`};`,
      `let ds_${r} = p_${r} * (t_${r} - ${statistics(r)}.y);`,
    ];
  });
}

function queryBody(
  { headSize, valueSize, causal, padded, relative }: AttentionGradientConstants,
  loadRow: Loader,
  lanes: number,
  rows: number,
  vectors: boolean,
): string {
  const own = lanes * rows, each = numbers(rows);
  const load = rowLoader(0, vectors);
  const query = each.map((r) => load("query", `x_${r}`, `at_${r}`, headSize));
  const gradient = each.map((r) => load("gradient", `z_${r}`, `from_${r}`, valueSize));
  const key = loadRow("key", "y", "keyRow", headSize);
  const value = loadRow("value", "w", "valueRow", valueSize);
  const setUp = each.flatMap((r) => [
    `let i_${r} = first + ${r * lanes}u + lane;`,
    `let token_${r} = b * params.queries + min(i_${r}, params.queries - 1u);`,
    `let at_${r} = params.queryOffset + token_${r} * params.queryStride + h * ${headSize}u;`,
    `let from_${r} = (token_${r} * params.heads + h) * ${valueSize}u;`,
    `let item_${r} = (b * (params.heads - 1u) + h) * params.queries + token_${r};`,
    `let statistics_${r} = statistics[item_${r}];`,
    ...query[r]!.lines,
    ...gradient[r]!.lines,
    ...numbers(headSize).map((d) => `var a_${r}_${d} = 0.0;`),
    ...(relative
      ? [
        `let table_${r} = item_${r} * side;`,
        `if (i_${r} < params.queries) { for (var c = 0u; c < side; c += 1u) { relativeGradient[table_${r} + c] = 0.0; } }`,
      ]
      : []),
  ]);
  const score = (r: number) =>
    `let s_${r}_log = s_${r} * factor` +
    (relative ? ` + (down_${r} + relative[table_${r} + params.gridHeight + x]) * ${log2e};` : ";");
  const step = [
    "let keyRow = keyStart + j * params.keyStride;",
    "let valueRow = valueStart + j * params.valueStride;",
    ...key.lines,
    ...value.lines,
    ...products("s", query, key, headSize),
    ...products("t", gradient, value, valueSize),
    ...each.map(score),
    ...gradients(
      rows,
      (r) => `statistics_${r}`,
      causal ? (r) => `i32(j) <= i32(i_${r}) + params.shift` : undefined,
    ),
    ...accumulate("a", "ds", rows, key, headSize),
    ...(relative
      ? each.flatMap((r) => [
        `across_${r} += ds_${r};`,
        `if (i_${r} < params.queries) { relativeGradient[table_${r} + params.gridHeight + x] += ds_${r}; }`,
      ])
      : []),
  ].join("\n      ");
  return `let blocks = (params.queries + ${own - 1}u) / ${own}u;
  let first = (index % blocks) * ${own}u;
  let h = (index / blocks) % params.heads;
  let b = index / blocks / params.heads;
  if (b >= params.batch) { return; }
  var end = params.keys;
  ${padded ? "end = min(end, lengths[b]);" : ""}
  ${causal ? `end = u32(clamp(i32(first + ${own}u) + params.shift, 0, i32(end)));` : ""}
  let keyStart = params.keyOffset + b * params.keys * params.keyStride + h / params.group * ${headSize}u;
  let valueStart = params.valueOffset + b * params.keys * params.valueStride + h / params.group * ${valueSize}u;
  ${relative ? "let side = params.gridHeight + params.gridWidth;" : ""}
  ${setUp.join("\n  ")}
  ${
    relative
      ? `for (var y = 0u; y * params.gridWidth < end; y += 1u) {
    ${
        each.map((r) => `let down_${r} = relative[table_${r} + y]; var across_${r} = 0.0;`).join(
          "\n    ",
        )
      }
    for (var x = 0u; x < params.gridWidth && y * params.gridWidth + x < end; x += 1u) {
      let j = y * params.gridWidth + x;
      ${step}
    }
    ${
        each.map((r) =>
          `if (i_${r} < params.queries) { relativeGradient[table_${r} + y] = across_${r}; }`
        ).join("\n    ")
      }
  }`
      : `for (var j = 0u; j < end; j += 1u) {
      ${step}
  }`
  }
  ${
    each.map((r) =>
      `if (i_${r} < params.queries) {
    let to = at_${r};
    ${store("queryGradient", `a_${r}`, headSize, " * params.scale", vectors, false)}
  }`
    ).join("\n  ")
  }`;
}

function keyBody(
  { headSize, valueSize, causal, padded, relative, together, adding }: AttentionGradientConstants,
  loadRow: Loader,
  lanes: number,
  rows: number,
  vectors: boolean,
): string {
  const own = lanes * rows, each = numbers(rows);
  const load = rowLoader(0, vectors);
  const key = each.map((r) => load("key", `x_${r}`, `at_${r}`, headSize));
  const value = each.map((r) => load("value", `z_${r}`, `from_${r}`, valueSize));
  const query = loadRow("query", "y", "queryRow", headSize);
  const gradient = loadRow("gradient", "w", "gradientRow", valueSize);
  const setUp = each.flatMap((r) => [
    `let j_${r} = first + ${r * lanes}u + lane;`,
    `let token_${r} = b * params.keys + min(j_${r}, params.keys - 1u);`,
    `let at_${r} = params.keyOffset + token_${r} * params.keyStride + keyHead * ${headSize}u;`,
    `let from_${r} = params.valueOffset + token_${r} * params.valueStride + keyHead * ${valueSize}u;`,
    ...key[r]!.lines,
    ...value[r]!.lines,
    ...numbers(headSize).map((d) => `var a_${r}_${d} = 0.0;`),
    ...numbers(valueSize).map((d) => `var v_${r}_${d} = 0.0;`),
    ...(relative
      ? [
        `let down_${r} = min(j_${r}, params.keys - 1u) / params.gridWidth;`,
        `let across_${r} = params.gridHeight + min(j_${r}, params.keys - 1u) % params.gridWidth;`,
      ]
      : []),
  ]);
  const seen = (r: number) =>
    [
      padded ? `j_${r} < end` : "",
      causal ? `i32(j_${r}) <= i32(i) + params.shift` : "",
    ].filter((condition) => condition !== "").join(" && ");
  const step = [
    "let token = b * params.queries + i;",
    `let queryRow = params.queryOffset + token * params.queryStride + h * ${headSize}u;`,
    `let gradientRow = (token * params.heads + h) * ${valueSize}u;`,
    "let item = (b * params.heads + h) * params.queries + i;",
    "let own = statistics[item];",
    ...query.lines,
    ...gradient.lines,
    ...products("s", key, query, headSize),
    ...products("t", value, gradient, valueSize),
    ...(relative ? ["let table = item * (params.gridHeight + params.gridWidth);"] : []),
    ...each.map((r) =>
      `let s_${r}_log = s_${r} * factor` +
      (relative
        ? ` + (relative[table + down_${r}] + relative[table + across_${r}]) * ${log2e};`
        : ";")
    ),
    ...gradients(rows, () => "own", padded || causal ? seen : undefined),
    ...accumulate("a", "ds", rows, query, headSize),
    ...accumulate("v", "p", rows, gradient, valueSize),
  ].join("\n      ");
  return `let blocks = (params.keys + ${own - 1}u) / ${own}u;
  let first = (index % blocks) * ${own}u;
  let keyHeads = params.heads / params.group;
  let keyHead = (index / blocks) % keyHeads;
  let b = index / blocks / keyHeads;
  if (b >= params.batch) { return; }
  ${padded ? "let end = lengths[b];" : ""}
  var start = 0u;
  ${causal ? "start = u32(max(0, i32(first) - params.shift));" : ""}
  ${padded ? "if (first >= end) { start = params.queries; }" : ""}
  ${setUp.join("\n  ")}
  for (var member = params.firstMember; member < params.firstMember + params.members; member += 1u) {
    let h = keyHead * params.group + member;
    for (var i = start; i < params.queries; i += 1u) {
      ${step}
    }
  }
  ${
    each.map((r) =>
      `if (j_${r} < params.keys) {
    var to = params.keyGradientOffset + token_${r} * params.keyStride + keyHead * ${headSize}u;
    ${store("keyGradient", `a_${r}`, headSize, " * params.scale", vectors, adding)}
    to = params.valueGradientOffset + token_${r} * params.valueStride + keyHead * ${valueSize}u;
    ${store(together ? "keyGradient" : "valueGradient", `v_${r}`, valueSize, "", vectors, adding)}
  }`
    ).join("\n  ")
  }`;
}
