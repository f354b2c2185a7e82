/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A number depends on the seed, a stream and its index alone, so any kernel can draw any number in any order, and the
 * host draws the same bits. Traffic: one write per number. Tiling: 64 invocations, one number each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { philox4x32, uniformOf, type Words } from "../random.ts";

export { philox4x32, seedWords, uniformOf, type Words } from "../random.ts";

/** WGSL of {@linkcode philox4x32} and {@linkcode uniformOf}. */
export const philoxWgsl = /* wgsl */ `
fn multiplyHigh(a: u32, b: u32) -> u32 {
  let aLow = a & 0xffffu; let aHigh = a >> 16u;
  let bLow = b & 0xffffu; let bHigh = b >> 16u;
  let middle = aHigh * bLow + ((aLow * bLow) >> 16u);
  let other = aLow * bHigh + (middle & 0xffffu);
  return aHigh * bHigh + (middle >> 16u) + (other >> 16u);
}
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  var c = counter;
  var k = key;
${
  Array.from({ length: 10 }, () =>
    `  c = vec4<u32>(multiplyHigh(0xcd9e8d57u, c.z) ^ c.y ^ k.x, 0xcd9e8d57u * c.z,
    multiplyHigh(0xd2511f53u, c.x) ^ c.w ^ k.y, 0xd2511f53u * c.x);
  k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);`).join("\n")
}
  return c;
}
fn uniformOf(word: u32) -> f32 { return (f32(word >> 9u) + 0.5) * 0x1p-23; }
`;

/** What is made of the uniform numbers. */
export type Distribution = "uniform" | "gaussian" | "gumbel";

const transforms: Record<
  Distribution,
  { wgsl: string; host: (words: Words, lane: number) => number }
> = {
  uniform: {
    wgsl: "uniformOf(words[i % 4u])",
    host: (words, lane) => uniformOf(words[lane]!),
  },
  // Box-Muller: lanes 0 and 1 share a pair of uniforms, lanes 2 and 3 another.
  gaussian: {
    wgsl: `params.scale * sqrt(-2.0 * log(uniformOf(words[i & 2u]))) *
      select(cos(6.283185307179586 * uniformOf(words[(i & 2u) + 1u])), sin(6.283185307179586 * uniformOf(words[(i & 2u) + 1u])), (i & 1u) == 1u)`,
    host: (words, lane) => {
      const radius = Math.sqrt(-2 * Math.log(uniformOf(words[lane & 2]!)));
      const angle = 2 * Math.PI * uniformOf(words[(lane & 2) + 1]!);
      return radius * (lane % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
    },
  },
  gumbel: {
    wgsl: "-log(-log(uniformOf(words[i % 4u])))",
    host: (words, lane) => -Math.log(-Math.log(uniformOf(words[lane]!))),
  },
};

/** output[i] = scale * draw(seed, stream, i). Dispatch ceil(count / 64). */
export function randomProgram(distribution: Distribution): Program {
  return program(`random ${distribution}`, () => ({
    arrays: { output: { type: "f32", access: "read_write" } },
    parameters: { count: "u32", seedLow: "u32", seedHigh: "u32", stream: "u32", scale: "f32" },
    wgsl: /* wgsl */ `
${philoxWgsl}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let words = philox(vec4<u32>(i / 4u, 0u, params.stream, 0u), vec2<u32>(params.seedLow, params.seedHigh));
  output[i] = ${transforms[distribution].wgsl};
}`,
    host({ output }, { count, seedLow, seedHigh, stream, scale }) {
      const draw = transforms[distribution].host;
      const factor = distribution === "gaussian" ? scale : 1;
      for (let i = 0; i < count; i += 4) {
        const words = philox4x32([i / 4, 0, stream, 0], [seedLow, seedHigh]);
        for (let lane = 0; lane < 4 && i + lane < count; lane++) {
          output[i + lane] = factor * draw(words, lane);
        }
      }
    },
  }));
}
