/**
 * Attention for GPUs: a workgroup owns a tile of queries and streams the keys and values through workgroup memory
 * (Dao 2023, FlashAttention-2, algorithm 1, forward pass).
 *
 * A workgroup is 8 by `columns` invocations. For every block of 4 `columns` keys, each invocation
 *   1. multiplies a register tile of `rows` queries by 4 keys, a slice of `slice` dimensions at a time,
 *   2. shares the row maxima of its tile, takes the exponentials and leaves them in workgroup memory,
 *   3. adds weights times values to a register tile of `rows` queries by 4 `spread` value columns, `slice` keys at a time.
 * Tiles lie transposed in workgroup memory with one vector of padding per line. FLOPs and traffic: see `attention.ts`; k
 * and v are read once per 8 `rows` queries.
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
} from "./attention.ts";

/** How the work of a workgroup is cut. */
export interface AttentionTile {
  /** Queries per invocation, 4 or 8; a workgroup owns eight times as many. */
  readonly rows: number;
  /** Invocations across keys and value columns, a multiple of 4. */
  readonly columns: number;
  /** Vectors of value columns per invocation. */
  readonly spread: number;
  /** Dimensions, and then keys, per step through workgroup memory; a multiple of 4 that divides 4 `columns`. */
  readonly slice: number;
}

/** Vectors of workgroup memory that staged operands take. */
function stagedVectors({ rows, columns, spread, slice }: AttentionTile): number {
  const groups = 2 * rows;
  return Math.max(
    slice * (groups + 1 + columns + 1),
    slice * spread * columns,
    columns * groups,
  );
}

/** Bytes of workgroup memory that a tile takes. */
function tileBytes(tile: AttentionTile): number {
  const groups = 2 * tile.rows;
  return 16 * (stagedVectors(tile) + 4 * tile.columns * (groups + 1) + 2 * groups);
}

/**
 * The largest tile that fits a device. The last one fits what every WebGPU device has.
 *
 * @param valueSize 1 to 256.
 */
export function chooseTile(
  valueSize: number,
  { workgroupMemory, workgroupSize }: {
    readonly workgroupMemory: number;
    readonly workgroupSize: number;
  },
): AttentionTile {
  const vectors = Math.ceil(valueSize / 4);
  const tiles = ([[8, 20, 16], [4, 20, 16], [4, 16, 8], [4, 8, 8]] as const).map(
    ([rows, most, slice]): AttentionTile => {
      const spread = Math.ceil(vectors / most);
      const columns = Math.max(8, 4 * Math.ceil(vectors / spread / 4));
      return { rows, columns, spread, slice };
    },
  );
  return tiles.find((tile) =>
    tileBytes(tile) <= workgroupMemory && 8 * tile.columns <= workgroupSize
  ) ?? tiles.at(-1)!;
}

/**
 * Dispatch batch * heads * ceil(queries / (8 rows)) workgroups.
 *
 * @param vectors Rows are read as vectors of four: all offsets, strides and head sizes are multiples of 4.
 */
export function attentionTiles(
  constants: AttentionConstants,
  tile: AttentionTile,
  vectors: boolean,
): Program {
  const { headSize, valueSize, causal, padded, relative, logSums } = constants;
  const { rows, columns, spread, slice } = tile;
  const block = 4 * columns;
  const threads = 8 * columns;
  const queries = 8 * rows;
  /** Vectors along the queries of a workgroup, and of one invocation. */
  const groups = 2 * rows, own = numbers(rows / 4);
  const queryLine = groups + 1, keyLine = columns + 1;
  const units = (groups + columns) * slice / 4;
  const valueVectors = slice * spread * columns;
  const lane = (r: number) => "xyzw"[r % 4]!;
  const each = numbers(rows), across = numbers(spread);

  /** A function that reads four elements of a row, zeros beyond `size`. */
  const reader = (name: string, array: string, size: number) => `
fn ${name}(row: u32, d: u32) -> vec4<f32> {
  ${
    vectors
      ? `return select(vec4<f32>(), ${array}[(row + d) / 4u], d < ${size}u);`
      : `return vec4<f32>(${
        numbers(4).map((i) => `select(0.0, ${array}[row + d + ${i}u], d + ${i}u < ${size}u)`)
          .join(", ")
      });`
  }
}`;

  const variant = `tiles ${queries} by ${block} spread ${spread} slice ${slice} ${
    vectors ? "vectors" : ""
  }`
    .trim();
  return program(attentionKey(variant, constants), () => ({
    arrays: attentionArrays(constants, vectors),
    parameters: attentionParameters,
    wgsl: /* wgsl */ `
var<workgroup> staged: array<vec4<f32>, ${stagedVectors(tile)}>;
var<workgroup> weights: array<vec4<f32>, ${block * queryLine}>;
var<workgroup> maxima: array<vec4<f32>, ${groups}>;
var<workgroup> shrinks: array<vec4<f32>, ${groups}>;
${reader("readQuery", "query", headSize)}
${reader("readKey", "key", headSize)}
${reader("readValue", "value", valueSize)}

@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
  let blocks = (params.queries + ${queries - 1}u) / ${queries}u;
  let index = workgroupIndex(group, groups);
  let first = (index % blocks) * ${queries}u;
  let h = (index / blocks) % params.heads;
  let b = index / blocks / params.heads;
  if (b >= params.batch) { return; }
  var end = params.keys;
  ${padded ? "end = min(end, lengths[b]);" : ""}
  ${causal ? `end = u32(clamp(i32(first + ${queries}u) + params.shift, 0, i32(end)));` : ""}
  let queryStart = params.queryOffset + b * params.queries * params.queryStride + h * ${headSize}u;
  let keyStart = params.keyOffset + b * params.keys * params.keyStride + h / params.group * ${headSize}u;
  let valueStart = params.valueOffset + b * params.keys * params.valueStride + h / params.group * ${valueSize}u;
  let down = t / ${columns}u;
  let over = t % ${columns}u;
  let factor = params.scale * ${log2e};
  ${
      each.map((r) => `
  let i_${r} = first + down * ${rows}u + ${r}u;
  ${across.map((x) => `var o_${r}_${x} = vec4<f32>();`).join(" ")}${
        relative
          ? `
  let table_${r} = ((b * params.heads + h) * params.queries + min(i_${r}, params.queries - 1u)) *
    (params.gridHeight + params.gridWidth);`
          : ""
      }`).join("")
    }
  ${own.map((g) => `var sum_${g} = vec4<f32>();`).join(" ")}
  // Kept by the invocation that reduces these rows.
  var highest = vec4<f32>(${lowest});

  for (var j = 0u; j < end; j += ${block}u) {
    ${each.map((r) => `var s_${r} = vec4<f32>();`).join(" ")}
    for (var d = 0u; d < ${headSize}u; d += ${slice}u) {
      workgroupBarrier();
      for (var unit = t; unit < ${units}u; unit += ${threads}u) {
        let at = unit % ${slice / 4}u;
        let line = unit / ${slice / 4}u;
        let e = d + 4u * at;
        var a: mat4x4<f32>;
        var to = 4u * at * ${queryLine}u + line;
        var step = ${queryLine}u;
        if (line < ${groups}u) {
          ${
      numbers(4).map((i) =>
        `a[${i}] = readQuery(queryStart + min(first + 4u * line + ${i}u, params.queries - 1u) * params.queryStride, e);`
      ).join("\n          ")
    }
        } else {
          let k = line - ${groups}u;
          ${
      numbers(4).map((i) =>
        `a[${i}] = readKey(keyStart + min(j + 4u * k + ${i}u, end - 1u) * params.keyStride, e);`
      ).join("\n          ")
    }
          to = ${slice * queryLine}u + 4u * at * ${keyLine}u + k;
          step = ${keyLine}u;
        }
        a = transpose(a);
        ${numbers(4).map((i) => `staged[to + ${i}u * step] = a[${i}];`).join(" ")}
      }
      workgroupBarrier();
      ${
      numbers(slice).map((e) =>
        `{
        let k = staged[${slice * queryLine + e * keyLine}u + over];
        ${
          own.map((g) => `let q_${g} = staged[${e * queryLine + g}u + down * ${own.length}u];`)
            .join(" ")
        }
        ${each.map((r) => `s_${r} += q_${Math.floor(r / 4)}.${lane(r)} * k;`).join(" ")}
      }`
      ).join("\n      ")
    }
    }
    workgroupBarrier();

    let key_0 = vec4<u32>(j + 4u * over) + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = key_0 < vec4<u32>(end);
    ${
      each.map((r) => `
    s_${r} *= factor;
    ${
        relative
          ? `s_${r} += ${log2e} * vec4<f32>(${
            numbers(4).map((c) =>
              `relative[table_${r} + min(key_0[${c}], end - 1u) / params.gridWidth] + relative[table_${r} + params.gridHeight + key_0[${c}] % params.gridWidth]`
            ).join(", ")
          });`
          : ""
      }
    let seen_${r} = inside${
        causal ? ` & (vec4<i32>(key_0) <= vec4<i32>(i32(i_${r}) + params.shift))` : ""
      };
    s_${r} = select(vec4<f32>(${lowest}), s_${r}, seen_${r});
    let top_${r} = max(max(s_${r}.x, s_${r}.y), max(s_${r}.z, s_${r}.w));`).join("")
    }
    ${
      own.map((g) =>
        `staged[over * ${groups}u + down * ${own.length}u + ${g}u] = vec4<f32>(${
          numbers(4).map((i) => `top_${4 * g + i}`).join(", ")
        });`
      ).join("\n    ")
    }
    workgroupBarrier();
    if (t < ${groups}u) {
      let before = highest;
      ${
      numbers(columns).map((c) => `highest = max(highest, staged[${c * groups}u + t]);`).join(
        "\n      ",
      )
    }
      maxima[t] = highest;
      shrinks[t] = exp2(before - highest);
    }
    workgroupBarrier();
    ${
      own.map((g) => `
    let top${g} = maxima[down * ${own.length}u + ${g}u];
    let shrink${g} = shrinks[down * ${own.length}u + ${g}u];`).join("")
    }
    ${
      each.map((r) => `
    let p_${r} = select(vec4<f32>(), exp2(s_${r} - top${Math.floor(r / 4)}.${lane(r)}), seen_${r});
    ${across.map((x) => `o_${r}_${x} *= shrink${Math.floor(r / 4)}.${lane(r)};`).join(" ")}`).join(
        "",
      )
    }
    ${
      own.flatMap((g) => [
        ...numbers(4).map((c) =>
          `let w_${g}_${c} = vec4<f32>(${
            numbers(4).map((i) => `p_${4 * g + i}.${lane(c)}`).join(", ")
          });
    weights[(4u * over + ${c}u) * ${queryLine}u + down * ${own.length}u + ${g}u] = w_${g}_${c};`
        ),
        `sum_${g} = sum_${g} * shrink${g} + w_${g}_0 + w_${g}_1 + w_${g}_2 + w_${g}_3;`,
      ]).join("\n    ")
    }

    for (var part = 0u; part < ${block}u && j + part < end; part += ${slice}u) {
      workgroupBarrier();
      for (var unit = t; unit < ${valueVectors}u; unit += ${threads}u) {
        let row = min(j + part + unit / ${spread * columns}u, end - 1u);
        staged[unit] = readValue(valueStart + row * params.valueStride, unit % ${
      spread * columns
    }u * 4u);
      }
      workgroupBarrier();
      ${
      numbers(slice).map((k) =>
        `{
        ${
          own.map((g) =>
            `let w_${g} = weights[(part + ${k}u) * ${queryLine}u + down * ${own.length}u + ${g}u];`
          ).join(" ")
        }
        ${
          across.map((x) => `let v_${x} = staged[${(k * spread + x) * columns}u + over];`).join(" ")
        }
        ${
          each.flatMap((r) =>
            across.map((x) => `o_${r}_${x} += w_${Math.floor(r / 4)}.${lane(r)} * v_${x};`)
          ).join(" ")
        }
      }`
      ).join("\n      ")
    }
    }
  }

  workgroupBarrier();
  ${
      own.map((g) => `staged[over * ${groups}u + down * ${own.length}u + ${g}u] = sum_${g};`).join(
        "\n  ",
      )
    }
  workgroupBarrier();
  ${
      own.map((g) => `
  let total_${g} = ${
        numbers(columns).map((c) => `staged[${c * groups + g}u + down * ${own.length}u]`).join(
          " + ",
        )
      };
  let inverse_${g} = select(vec4<f32>(), 1.0 / total_${g}, total_${g} > vec4<f32>());`).join("")
    }
  ${
      logSums
        ? own.map((g) => `
  if (over == 0u) {
    let logs = select(vec4<f32>(), maxima[down * ${own.length}u + ${g}u] + log2(total_${g}), total_${g} > vec4<f32>());
    ${
          numbers(4).map((i) =>
            `if (i_${
              4 * g + i
            } < params.queries) { logSums[(b * params.heads + h) * params.queries + i_${
              4 * g + i
            }] = logs[${i}]; }`
          ).join("\n    ")
        }
  }`).join("")
        : ""
    }
  ${
      each.map((r) =>
        `if (i_${r} < params.queries) {
    let to = ((b * params.queries + i_${r}) * params.heads + h) * ${valueSize}u;
    ${
          across.map((x) =>
            `{
      let column = 4u * (over + ${x * columns}u);
      let result = o_${r}_${x} * inverse_${Math.floor(r / 4)}.${lane(r)};
      ${
              vectors
                ? `if (column < ${valueSize}u) { output[(to + column) / 4u] = result; }`
                : numbers(4).map((i) =>
                  `if (column + ${i}u < ${valueSize}u) { output[to + column + ${i}u] = result[${i}]; }`
                ).join("\n      ")
            }
    }`
          ).join("\n    ")
        }
  }`
      ).join("\n  ")
    }
}`,
    host: attentionHost(constants),
  }));
}
