/**
 * Gradients of the tables of relative positions (see `attention_relative.ts`) and of the queries through them, from the
 * gradient g of the scores that the tables give, [batch, heads, tokens, gridHeight + gridWidth]:
 *
 *     dq[y, x]  += sum_ky g[y, x, ky] height[y - ky + gridHeight - 1] + sum_kx g[y, x, kx] width[x - kx + gridWidth - 1]
 *     dheight[r] = sum over items, x and all y - ky + gridHeight - 1 = r of g[y, x, ky] q[y, x], and so for the width
 *
 * Tiling: for dq a lane owns a query and walks over the rows of both tables, as the way there does. For a table a lane owns one of
 * its rows and walks over the queries of some of the items (batch entries and heads), the same query as its neighbours,
 * so that queries are broadcast; the partial sums are added up by a sum over rows. FLOPs: 4 headSize (gridHeight +
 * gridWidth) per query and head, for dq and for the tables. Traffic: q once for every few rows of a table, g once.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { numbers, rowLoader } from "./attention.ts";

/**
 * Adds to the gradient of q, which has its offset and stride. Dispatch batch * heads * ceil(gridHeight * gridWidth / lanes).
 *
 * @param broadcast Workgroups are subgroups of exactly `lanes` lanes.
 * @param vectors Rows are read as vectors of four: offset, stride and head size are multiples of 4.
 */
export function relativeQueryGradient(
  headSize: number,
  lanes: number,
  broadcast: boolean,
  vectors: boolean,
): Program {
  const key = `attention tables query gradient ${headSize} lanes ${lanes}${
    broadcast ? " broadcast" : ""
  }${vectors ? " vectors" : ""}`;
  const loadRow = rowLoader(broadcast ? lanes : 0, vectors);
  const type = vectors ? "vec4<f32>" : "f32";
  const side = (array: string, extent: string, position: string, column: string) => {
    const { lines, element } = loadRow(array, "r", `row * ${headSize}u`, headSize);
    return `
  for (var row = 0u; row + 1u < 2u * ${extent}; row += 1u) {
    ${lines.join("\n    ")}
    let k = ${position} + ${extent} - 1u - row;
    let g = select(0.0, scores[at + ${column}min(k, ${extent} - 1u)], k < ${extent});
    ${numbers(headSize).map((d) => `a_${d} += g * ${element(d)};`).join("\n    ")}
  }`;
  };
  return program(key, () => ({
    arrays: {
      scores: { type: "f32", access: "read" },
      height: { type, access: "read" },
      width: { type, access: "read" },
      queryGradient: { type, access: "read_write" },
    },
    parameters: {
      batch: "u32",
      heads: "u32",
      gridHeight: "u32",
      gridWidth: "u32",
      queryOffset: "u32",
      queryStride: "u32",
    },
    subgroups: broadcast,
    wgsl: /* wgsl */ `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(${broadcast ? "subgroup_invocation_id" : "local_invocation_index"}) lane: u32) {
  let tokens = params.gridHeight * params.gridWidth;
  let blocks = (tokens + ${lanes - 1}u) / ${lanes}u;
  let index = workgroupIndex(group, groups);
  let i = (index % blocks) * ${lanes}u + lane;
  let h = (index / blocks) % params.heads;
  let b = index / blocks / params.heads;
  if (b >= params.batch) { return; }
  let token = min(i, tokens - 1u);
  let y = token / params.gridWidth;
  let x = token % params.gridWidth;
  let to = params.queryOffset + (b * tokens + token) * params.queryStride + h * ${headSize}u;
  let at = ((b * params.heads + h) * tokens + token) * (params.gridHeight + params.gridWidth);
  ${numbers(headSize).map((d) => `var a_${d} = 0.0;`).join(" ")}
  ${side("height", "params.gridHeight", "y", "")}
  ${side("width", "params.gridWidth", "x", "params.gridHeight + ")}
  if (i < tokens) {
    ${
      vectors
        ? numbers(headSize / 4).map((c) =>
          `queryGradient[to / 4u + ${c}u] += vec4<f32>(${
            numbers(4).map((n) => `a_${4 * c + n}`).join(", ")
          });`
        ).join("\n    ")
        : numbers(headSize).map((d) => `queryGradient[to + ${d}u] += a_${d};`).join("\n    ")
    }
  }
}`,
    host({ scores, height, width, queryGradient }, parameters) {
      const { batch, heads, gridHeight, gridWidth, queryOffset, queryStride } = parameters;
      const tokens = gridHeight * gridWidth;
      let from = 0;
      for (let item = 0; item < batch * heads * tokens; item++) {
        const token = item % tokens, h = Math.floor(item / tokens) % heads;
        const b = Math.floor(item / tokens / heads);
        const y = Math.floor(token / gridWidth), x = token % gridWidth;
        const to = queryOffset + (b * tokens + token) * queryStride + h * headSize;
        const add = (g: number, table: Float32Array, row: number) => {
          for (let d = 0; d < headSize; d++) {
            queryGradient[to + d]! += g * table[row * headSize + d]!;
          }
        };
        for (let k = 0; k < gridHeight; k++) add(scores[from++]!, height, y - k + gridHeight - 1);
        for (let k = 0; k < gridWidth; k++) add(scores[from++]!, width, x - k + gridWidth - 1);
      }
    },
  }));
}

/**
 * Partial sums of the gradient of one table, output [parts, 2 extent - 1, headSize]. The raster is described as seen along the
 * table: `extent` places `step` tokens apart, at each of `others` places `otherStep` tokens apart; scores of the
 * table begin at `column` of `columns`. Dispatch parts * ceil((2 extent - 1) / lanes).
 *
 * @param broadcast Workgroups are subgroups of exactly `lanes` lanes.
 * @param vectors Rows are read and written as vectors of four: offset, stride and head size are multiples of 4.
 */
export function relativeTableGradient(
  headSize: number,
  lanes: number,
  broadcast: boolean,
  vectors: boolean,
): Program {
  const key = `attention tables gradient ${headSize} lanes ${lanes}${
    broadcast ? " broadcast" : ""
  }${vectors ? " vectors" : ""}`;
  const { lines, element } = rowLoader(broadcast ? lanes : 0, vectors)(
    "query",
    "q",
    "start + (firstToken + token) * params.queryStride",
    headSize,
  );
  const type = vectors ? "vec4<f32>" : "f32";
  return program(key, () => ({
    arrays: {
      scores: { type: "f32", access: "read" },
      query: { type, access: "read" },
      output: { type, access: "read_write" },
    },
    parameters: {
      /** batch * heads, and how many of them a part takes. */
      items: "u32",
      part: "u32",
      heads: "u32",
      extent: "u32",
      step: "u32",
      others: "u32",
      otherStep: "u32",
      column: "u32",
      columns: "u32",
      queryOffset: "u32",
      queryStride: "u32",
    },
    subgroups: broadcast,
    wgsl: /* wgsl */ `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(${broadcast ? "subgroup_invocation_id" : "local_invocation_index"}) lane: u32) {
  let rows = 2u * params.extent - 1u;
  let blocks = (rows + ${lanes - 1}u) / ${lanes}u;
  let index = workgroupIndex(group, groups);
  let firstRow = index % blocks * ${lanes}u;
  let row = firstRow + lane;
  let firstItem = index / blocks * params.part;
  if (firstItem >= params.items) { return; }
  let tokens = params.extent * params.others;
  // Places at which any of these rows has a key on the raster.
  let far = params.extent - 1u;
  let first = max(firstRow, far) - far;
  let last = min(firstRow + ${lanes - 1}u, far);
  ${numbers(headSize).map((d) => `var a_${d} = 0.0;`).join(" ")}
  for (var item = firstItem; item < min(firstItem + params.part, params.items); item += 1u) {
    let start = params.queryOffset + item % params.heads * ${headSize}u;
    let firstToken = item / params.heads * tokens;
    for (var place = first; place <= last; place += 1u) {
      let k = place + far - row;
      let column = params.column + min(k, far);
      for (var other = 0u; other < params.others; other += 1u) {
        let token = place * params.step + other * params.otherStep;
        ${lines.join("\n        ")}
        let g = select(0.0, scores[(item * tokens + token) * params.columns + column], k <= far);
        ${numbers(headSize).map((d) => `a_${d} += g * ${element(d)};`).join("\n        ")}
      }
    }
  }
  if (row < rows) {
    let to = (index / blocks * rows + row) * ${headSize}u;
    ${
      vectors
        ? numbers(headSize / 4).map((c) =>
          `output[to / 4u + ${c}u] = vec4<f32>(${
            numbers(4).map((n) => `a_${4 * c + n}`).join(", ")
          });`
        ).join("\n    ")
        : numbers(headSize).map((d) => `output[to + ${d}u] = a_${d};`).join("\n    ")
    }
  }
}`,
    host({ scores, query, output }, parameters) {
      const { items, part, heads, extent, step, others, otherStep, column, columns } = parameters;
      const tokens = extent * others, rows = 2 * extent - 1;
      output.fill(0, 0, Math.ceil(items / part) * rows * headSize);
      for (let item = 0; item < items; item++) {
        const b = Math.floor(item / heads), h = item % heads;
        for (let place = 0; place < extent; place++) {
          for (let other = 0; other < others; other++) {
            const token = place * step + other * otherStep;
            const from = parameters.queryOffset + (b * tokens + token) * parameters.queryStride +
              h * headSize;
            for (let k = 0; k < extent; k++) {
              const row = Math.floor(item / part) * rows + place - k + extent - 1;
              const g = scores[(item * tokens + token) * columns + column + k]!;
              for (let d = 0; d < headSize; d++) {
                output[row * headSize + d]! += g * query[from + d]!;
              }
            }
          }
        }
      }
    },
  }));
}
