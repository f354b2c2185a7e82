/**
 * What kernels that rank values share: a total order on float32 and thresholds by bisection.
 *
 * @module
 */
import { type RowTeam, teamWalk } from "./row_team.ts";

/**
 * WGSL `orderKey(x) -> u32`: monotone in x, both zeros equal, numbers that are no numbers below all others (key 0).
 * The sign decides whether the bits of a float already ascend or must be turned around.
 */
export const orderKeyWgsl = /* wgsl */ `
fn orderKey(x: f32) -> u32 {
  let word = bitcast<u32>(x);
  let bits = select(word, 0u, word == 0x80000000u);
  let key = select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
  return select(key, 0u, (word & 0x7fffffffu) > 0x7f800000u);
}`;

/** A search for a threshold among unsigned words. */
export interface ThresholdSearch {
  /** WGSL variable that gets the threshold. */
  readonly name: string;
  /** Words are below 2^bits; an even number. */
  readonly bits: number;
  /** Words per load: a scalar or a vector of them. */
  readonly width: 1 | 4;
  /** WGSL of the word at load `i`, and of the amount it brings. */
  readonly word: string;
  readonly amount: string;
  /** WGSL of the amount to be reached. */
  readonly required: string;
  /** WGSL of the first load and of the one behind the last. */
  readonly start: string;
  readonly end: string;
}

/**
 * WGSL that finds the largest threshold with sum of amounts of all words >= threshold still reaching what is required,
 * two bits per walk over the row. Float sums of fewer non-negative terms in the same order are never larger, so rounding
 * cannot mislead the search. Needs the reduction `sumFour` of vec4<f32>.
 */
export function thresholdSearch(team: RowTeam, search: ThresholdSearch): string {
  const { name, bits, width, word, amount, required, start, end } = search;
  const [numbers, words] = width === 4 ? ["vec4<f32>", "vec4<u32>"] : ["f32", "u32"];
  const part = (axis: string) => {
    const taken = `select(${numbers}(0.0), amount, word >= ${words}(steps.${axis}))`;
    return width === 4 ? `dot(${taken}, vec4<f32>(1.0))` : taken;
  };
  const body = `let word = ${word}; let amount = ${numbers}(${amount});
      sums += vec3<f32>(${part("x")}, ${part("y")}, ${part("z")});`;
  return /* wgsl */ `
  var ${name} = 0u;
  for (var digit = ${bits / 2}u; digit > 0u; digit--) {
    let shift = 2u * (digit - 1u);
    let steps = vec3<u32>(${name}) | (vec3<u32>(1u, 2u, 3u) << vec3<u32>(shift));
    var sums = vec3<f32>(0.0);
${teamWalk(team, body, start, end)}
    let reached = vec3<u32>(sumFour(vec4<f32>(sums, 0.0)).xyz >= vec3<f32>(${required}));
    // Amounts fall from step to step, so the steps reached are the first ones and their number is the digit.
    ${name} |= (reached.x + reached.y + reached.z) << shift;
  }`;
}
