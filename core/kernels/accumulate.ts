/**
 * In-place accumulation: y[i] += scale * x[i].
 *
 * Traffic: two reads and one write per element. Tiling as in `elementwise.ts`.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { elementwiseWgsl, type Lanes, lanesType } from "./elementwise.ts";

/** total[i] += scale * input[i]; `count` in elements over lanes. */
export function accumulateProgram(lanes: Lanes): Program {
  return program(`accumulate x${lanes}`, () => ({
    arrays: {
      input: { type: lanesType(lanes), access: "read" },
      total: { type: lanesType(lanes), access: "read_write" },
    },
    parameters: { count: "u32", scale: "f32" },
    wgsl: elementwiseWgsl({
      inputs: { input: "i", total: "i" },
      outputs: { total: "total + params.scale * input" },
    }, lanes),
    host({ input, total }, { count, scale }) {
      for (let i = 0; i < lanes * count; i++) total[i] += scale * input[i]!;
    },
  }));
}
