/**
 * What kernels that rank values share: a total order on float32, unrolled walks over a row, thresholds by bisection.
 *
 * @module
 */
import type { RowTeam } from "./row_team.ts";

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

/** Values per turn of an unrolled walk. */
export const unrolled = 8;

/**
 * WGSL that runs `body` for every index `i` of this lane from `start` to `end`, lanes taking turns; several indices per
 * loop iteration, because runtimes bound and check every iteration.
 */
export function walkRow({ lanes }: RowTeam, body: string): string {
  const turns = Array.from(
    { length: unrolled },
    (_, n) => `    { let i = next + ${n * lanes}u; ${body} }`,
  );
  return /* wgsl */ `  {
  var next = start + lane;
  for (; next + ${(unrolled - 1) * lanes}u < end; next += ${unrolled * lanes}u) {
${turns.join("\n")}
  }
  for (; next < end; next += ${lanes}u) { let i = next; ${body} }
  }`;
}

/** A search for a threshold among unsigned words. */
export interface ThresholdSearch {
  /** WGSL variable that gets the threshold. */
  readonly name: string;
  /** Words are below 2^bits; an even number. */
  readonly bits: number;
  /** WGSL of the word at index `i`, and of the amount it brings. */
  readonly word: string;
  readonly amount: string;
  /** WGSL of the amount to be reached. */
  readonly required: string;
}

/**
 * WGSL that finds the largest threshold with sum of amounts of all words >= threshold still reaching what is required,
 * two bits per walk over the row. Float sums of fewer non-negative terms in the same order are never larger, so rounding
 * cannot mislead the search. Needs the reduction `sumFour` of vec4<f32>.
 */
export function thresholdSearch(team: RowTeam, search: ThresholdSearch): string {
  const { name, bits, word, amount, required } = search;
  return /* wgsl */ `
  var ${name} = 0u;
  for (var digit = ${bits / 2}u; digit > 0u; digit--) {
    let shift = 2u * (digit - 1u);
    let steps = vec3<u32>(${name}) | (vec3<u32>(1u, 2u, 3u) << vec3<u32>(shift));
    var sums = vec3<f32>(0.0);
${
    walkRow(
      team,
      `sums += select(vec3<f32>(0.0), vec3<f32>(${amount}), vec3<u32>(${word}) >= steps);`,
    )
  }
    let reached = vec3<u32>(sumFour(vec4<f32>(sums, 0.0)).xyz >= vec3<f32>(${required}));
    // Amounts fall from step to step, so the steps reached are the first ones and their number is the digit.
    ${name} |= (reached.x + reached.y + reached.z) << shift;
  }`;
}
