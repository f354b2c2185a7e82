/**
 * Cutting rasters into square windows and putting them back, as windowed attention needs it (Liu et al. 2021, Swin;
 * zero padding at the right and bottom as in SAM's image encoder).
 *
 *     windows[b, wy, wx, y, x] = image[b, wy size + y, wx size + x], 0 outside
 *
 * Traffic: every element once in, once out. Tiling: 64 invocations, one element (of one or four floats) each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** What both directions take. `columns` counts elements of `lanes` floats per token. */
const parameters = {
  batch: "u32",
  height: "u32",
  width: "u32",
  columns: "u32",
  size: "u32",
} as const;

interface Extents {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly columns: number;
  readonly size: number;
}

/** Token indices on both sides, for every token of every window; the image's is -1 in the padding. */
function eachToken(
  { batch, height, width, size }: Extents,
  body: (windowToken: number, imageToken: number) => void,
): void {
  const down = Math.ceil(height / size), across = Math.ceil(width / size);
  let token = 0;
  for (let window = 0; window < batch * down * across; window++) {
    const left = (window % across) * size, top = (Math.floor(window / across) % down) * size;
    const b = Math.floor(window / across / down);
    for (let y = top; y < top + size; y++) {
      for (let x = left; x < left + size; x++) {
        body(token++, y < height && x < width ? (b * height + y) * width + x : -1);
      }
    }
  }
}

/** Image to windows. Dispatch ceil(tokens in all windows * columns / 64). */
export function windowPartitionProgram(lanes: 1 | 4): Program {
  const type = lanes === 4 ? "vec4<f32>" : "f32";
  return program(`window partition ${lanes}`, () => ({
    arrays: { input: { type, access: "read" }, output: { type, access: "read_write" } },
    parameters,
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let index = workgroupIndex(group, groups) * 64u + lane;
  let size = params.size;
  let across = (params.width + size - 1u) / size;
  let down = (params.height + size - 1u) / size;
  let token = index / params.columns;
  let window = token / (size * size);
  let b = window / (across * down);
  if (b >= params.batch) { return; }
  let y = (window / across) % down * size + token / size % size;
  let x = window % across * size + token % size;
  var value = ${type}();
  if (y < params.height && x < params.width) {
    value = input[((b * params.height + y) * params.width + x) * params.columns + index % params.columns];
  }
  output[index] = value;
}`,
    host({ input, output }: { input: Float32Array; output: Float32Array }, extents) {
      const columns = extents.columns * lanes;
      eachToken(extents, (to, from) => {
        if (from < 0) output.fill(0, to * columns, (to + 1) * columns);
        else output.set(input.subarray(from * columns, (from + 1) * columns), to * columns);
      });
    },
  }));
}

/** Windows to image. Dispatch ceil(batch * height * width * columns / 64). */
export function windowUnpartitionProgram(lanes: 1 | 4): Program {
  const type = lanes === 4 ? "vec4<f32>" : "f32";
  return program(`window unpartition ${lanes}`, () => ({
    arrays: { input: { type, access: "read" }, output: { type, access: "read_write" } },
    parameters,
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let index = workgroupIndex(group, groups) * 64u + lane;
  let size = params.size;
  let across = (params.width + size - 1u) / size;
  let down = (params.height + size - 1u) / size;
  let token = index / params.columns;
  let x = token % params.width;
  let y = (token / params.width) % params.height;
  let b = token / params.width / params.height;
  if (b >= params.batch) { return; }
  let window = (b * down + y / size) * across + x / size;
  let source = (window * size + y % size) * size + x % size;
  output[index] = input[source * params.columns + index % params.columns];
}`,
    host({ input, output }: { input: Float32Array; output: Float32Array }, extents) {
      const columns = extents.columns * lanes;
      eachToken(extents, (from, to) => {
        if (to >= 0) {
          output.set(input.subarray(from * columns, (from + 1) * columns), to * columns);
        }
      });
    },
  }));
}
