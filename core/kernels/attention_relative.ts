/**
 * Tables of decomposed relative positions, as SAM's image encoder adds them to its scores (Kirillov et al. 2023;
 * Li et al. 2022, MViTv2, equation 5): for the query at (y, x) of a raster, unscaled,
 *
 *     output[y, x, ky]              = q . height[y - ky + gridHeight - 1]
 *     output[y, x, gridHeight + kx] = q . width[x - kx + gridWidth - 1]
 *
 * Tiling: a lane owns a query and walks over all rows of both tables, the same row as its neighbours, so that rows are
 * broadcast; it keeps the half whose key lies on the raster. FLOPs: 4 headSize (gridHeight + gridWidth) per query and
 * head. Traffic: q once, the tables once per workgroup, the result once.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { numbers, rowLoader } from "./attention.ts";

/**
 * Dispatch batch * heads * ceil(gridHeight * gridWidth / lanes) workgroups.
 *
 * @param broadcast Workgroups are subgroups of exactly `lanes` lanes.
 * @param vectors Rows are read as vectors of four: offset, stride and head size are multiples of 4.
 */
export function relativeTables(
  headSize: number,
  lanes: number,
  broadcast: boolean,
  vectors: boolean,
): Program {
  const key = `attention tables ${headSize} lanes ${lanes}${broadcast ? " broadcast" : ""}${
    vectors ? " vectors" : ""
  }`;
  const loadRow = rowLoader(broadcast ? lanes : 0, vectors);
  const query = rowLoader(0, vectors)("query", "q", "at", headSize);
  const type = vectors ? "vec4<f32>" : "f32";
  const side = (array: string, extent: string, position: string, column: string) => {
    const { lines, element } = loadRow(array, "r", `row * ${headSize}u`, headSize);
    return `
  for (var row = 0u; row + 1u < 2u * ${extent}; row += 1u) {
    ${lines.join("\n    ")}
    let dot = ${numbers(headSize).map((d) => `${query.element(d)} * ${element(d)}`).join(" + ")};
    let k = ${position} + ${extent} - 1u - row;
    if (k < ${extent} && i < tokens) { output[to + ${column}k] = dot; }
  }`;
  };
  return program(key, () => ({
    arrays: {
      query: { type, access: "read" },
      height: { type, access: "read" },
      width: { type, access: "read" },
      output: { type: "f32", access: "read_write" },
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
  let at = params.queryOffset + (b * tokens + token) * params.queryStride + h * ${headSize}u;
  let to = ((b * params.heads + h) * tokens + token) * (params.gridHeight + params.gridWidth);
  ${query.lines.join("\n  ")}
  ${side("height", "params.gridHeight", "y", "")}
  ${side("width", "params.gridWidth", "x", "params.gridHeight + ")}
}`,
    host({ query, height, width, output }, parameters) {
      const { batch, heads, gridHeight, gridWidth, queryOffset, queryStride } = parameters;
      const tokens = gridHeight * gridWidth;
      const dot = (at: number, table: Float32Array, row: number) => {
        let sum = 0;
        for (let d = 0; d < headSize; d++) sum += query[at + d]! * table[row * headSize + d]!;
        return sum;
      };
      let to = 0;
      for (let item = 0; item < batch * heads * tokens; item++) {
        const token = item % tokens, h = Math.floor(item / tokens) % heads;
        const b = Math.floor(item / tokens / heads);
        const y = Math.floor(token / gridWidth), x = token % gridWidth;
        const at = queryOffset + (b * tokens + token) * queryStride + h * headSize;
        for (let k = 0; k < gridHeight; k++) output[to++] = dot(at, height, y - k + gridHeight - 1);
        for (let k = 0; k < gridWidth; k++) output[to++] = dot(at, width, x - k + gridWidth - 1);
      }
    },
  }));
}
