/**
 * Initial values of parameters, the same on every device for the same seed and name.
 *
 * @module
 */
import { philox4x32, uniformOf } from "../kernels/random.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { ParameterSpec } from "./parameters.ts";

/** Where a parameter starts. */
export type Initialiser =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  /** Normal with mean 0. */
  | { readonly kind: "normal"; readonly std: number }
  /** Uniform in (-bound, bound). */
  | { readonly kind: "uniform"; readonly bound: number }
  /** A fixed function of the element's index, for buffers that follow from the configuration. */
  | { readonly kind: "computed"; readonly value: (index: number) => number };

/** FNV-1a of a name, 0 to 2^32 - 1, to give every name a stream of its own. */
export function nameHash(text: string): number {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
  return state >>> 0;
}

/**
 * Values of rows `first … first + count - 1` of the outermost dimension, row-major.
 *
 * Element i of a parameter depends on the seed, the name and i alone, so a model may be made in any order and in pieces.
 */
export function initialValues(
  spec: ParameterSpec,
  seed: number,
  first: number,
  count: number,
): Float32Array<ArrayBuffer> {
  const columns = elementCount(spec.shape.slice(1));
  const values = new Float32Array((spec.shape.length === 0 ? 1 : count) * columns);
  const base = first * columns;
  const { init } = spec;
  if (init.kind === "ones") return values.fill(1);
  if (init.kind === "computed") return values.map((_, i) => init.value(base + i));
  if (init.kind === "zeros") return values;
  const key = [seed >>> 0, nameHash(spec.name)] as const;
  // Four words of one Philox block serve four uniforms or two Box-Muller pairs.
  for (let i = 0; i < values.length;) {
    const block = Math.floor((base + i) / 4);
    const words = philox4x32([block >>> 0, Math.floor(block / 2 ** 32), 0, 0], key);
    const u = [uniformOf(words[0]), uniformOf(words[1]), uniformOf(words[2]), uniformOf(words[3])];
    for (let lane = (base + i) % 4; lane < 4 && i < values.length; lane++, i++) {
      if (init.kind === "uniform") {
        values[i] = init.bound * (2 * u[lane]! - 1);
      } else {
        const radius = Math.sqrt(-2 * Math.log(u[lane & 2]!)) * init.std;
        const angle = 2 * Math.PI * u[(lane & 2) + 1]!;
        values[i] = radius * (lane % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
      }
    }
  }
  return values;
}
