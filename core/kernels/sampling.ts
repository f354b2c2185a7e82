/**
 * Choosing the next token on the device, and the bookkeeping of a decode step.
 *
 * Greedy: the most probable token. Otherwise a token is drawn from softmax(logits / temperature), restricted first to the k most probable
 * ones (and those whose probability equals the k-th in float32), then to the smallest set of most probable ones whose mass reaches topP; the token that
 * crosses it is kept. Of tokens equal at that edge the first in index order are kept.
 *
 * One team of lanes does it in one dispatch (see `row_team.ts`): the maximum; the weights exp((logit - maximum) / temperature),
 * kept in a scratch buffer; the two edges by bisection over the bits of what is compared, 16 walks each, so that nothing is sorted
 * (see `ordering.ts`); at last every lane weighs a contiguous share, the lane whose share holds the drawn mass looks for the
 * token in it. Traffic: 4 V bytes plus about 20 to 36 V values from the cache.
 *
 * Sources: Transformers `TopKLogitsWarper` and `TopPLogitsWarper` for what is kept (their sorting leaves equals undefined); Holtzman et
 * al. 2020 for top-p; Philox for the uniform number (see `random.ts`), keyed by the seed, the counter being the step.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { argmaxReductions, argmaxWalk, hostArgmax } from "./argmax.ts";
import { orderKeyWgsl, thresholdSearch } from "./ordering.ts";
import { philox4x32, philoxWgsl, uniformOf } from "./random.ts";
import {
  type RowTeam,
  teamKey,
  teamMain,
  teamReductions,
  teamSubgroups,
  teamWalk,
} from "./row_team.ts";

/** Word of the Philox counter that keeps the sampler's numbers apart from all others. */
const samplerStream = 0x73616d70;

const stateArrays = {
  token: { type: "u32", access: "read_write" },
  position: { type: "u32", access: "read_write" },
  length: { type: "u32", access: "read_write" },
  step: { type: "u32", access: "read_write" },
  ring: { type: "u32", access: "read_write" },
} as const;

const advanceWgsl = /* wgsl */ `
fn advance(chosen: u32) {
  token[0] = chosen;
  ring[step[0] % params.capacity] = chosen;
  step[0] += 1u;
  position[0] += 1u;
  length[0] += 1u;
}`;

interface StateArrays {
  readonly token: Uint32Array;
  readonly position: Uint32Array;
  readonly length: Uint32Array;
  readonly step: Uint32Array;
  readonly ring: Uint32Array;
}

function advanceOnHost(
  { token, position, length, step, ring }: StateArrays,
  chosen: number,
  capacity: number,
): void {
  token[0] = chosen;
  ring[step[0]! % capacity] = chosen;
  step[0]!++;
  position[0]!++;
  length[0]!++;
}

/** Takes the most probable token, the lowest index among equals, and moves the state on. Parameter `rows` is 1. Dispatch 1. */
export function greedyProgram(team: RowTeam): Program {
  return program(`sample greedy ${teamKey(team)}`, () => ({
    arrays: { input: { type: "f32", access: "read" }, ...stateArrays },
    parameters: { rows: "u32", columns: "u32", capacity: "u32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      orderKeyWgsl,
      advanceWgsl,
      teamReductions(team, argmaxReductions),
      teamMain(
        team,
        /* wgsl */ `
  let start = 0u;
  let end = params.columns;
${argmaxWalk(team)}
  if (lane == 0u) { advance(best); }`,
      ),
    ].join("\n"),
    host(arrays, { columns, capacity }) {
      advanceOnHost(arrays, hostArgmax(arrays.input, 0, columns), capacity);
    },
  }));
}

/**
 * Draws a token and moves the state on. Parameter `rows` is 1, `topK` 0 and `topP` 1 keep everything; `weights` is scratch for
 * V numbers, rounded up to four. The team must not be `alone`. Dispatch 1.
 */
export function sampleProgram(team: RowTeam): Program {
  return program(`sample ${teamKey(team)}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      weights: { type: "vec4<f32>", access: "read_write" },
      ...stateArrays,
    },
    parameters: {
      rows: "u32",
      columns: "u32",
      capacity: "u32",
      inverseTemperature: "f32",
      topP: "f32",
      topK: "u32",
      seedLow: "u32",
      seedHigh: "u32",
    },
    subgroups: teamSubgroups(team),
    wgsl: sampleSource(team),
    host: hostSample,
  }));
}

/** What both searches of the sampler have in common: weights lie in [0, 1] and their bits sort as they do. */
const weightSearch = {
  bits: 30,
  width: 4,
  word: "bitcast<vec4<u32>>(weights[i])",
  start: "0u",
  end: "loads",
} as const;

function sampleSource(team: RowTeam): string {
  const { lanes } = team;
  return [
    orderKeyWgsl,
    advanceWgsl,
    philoxWgsl,
    /* wgsl */ `
var<workgroup> shareMass: array<f32, ${lanes}>;
var<workgroup> shareEqual: array<u32, ${lanes}>;
var<workgroup> owner: u32;
var<workgroup> ownerGoal: f32;
var<workgroup> ownerEqual: u32;`,
    teamReductions(team, [
      ...argmaxReductions,
      { name: "sumFour", type: "vec4<f32>", operation: "add" },
    ]),
    teamMain(
      team,
      /* wgsl */ `
  let start = 0u;
  let end = params.columns;
${argmaxWalk(team)}
  let peak = clamp(input[best], -3e38, 3e38);
  let loads = (end + 3u) / 4u;
  var mass = 0.0;
${
        teamWalk(
          team,
          /* wgsl */ `
      let at = 4u * i + vec4<u32>(0u, 1u, 2u, 3u);
      let near = min(at, vec4<u32>(end - 1u));
      let logit = vec4<f32>(input[near.x], input[near.y], input[near.z], input[near.w]);
      let off = at >= vec4<u32>(end) | (bitcast<vec4<u32>>(logit) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
      let distance = clamp(logit, vec4<f32>(-3e38), vec4<f32>(3e38)) - peak;
      let weight = select(exp(distance * params.inverseTemperature), vec4<f32>(0.0), off);
      weights[i] = weight;
      mass += dot(weight, vec4<f32>(1.0));`,
          "0u",
          "loads",
        )
      }
  if (params.topK > 0u) {
${
        thresholdSearch(team, {
          ...weightSearch,
          name: "kth",
          amount: "1.0",
          required: "f32(params.topK)",
        })
      }
    mass = 0.0;
${
        teamWalk(
          team,
          `let kept = select(vec4<f32>(0.0), weights[i], bitcast<vec4<u32>>(weights[i]) >= vec4<u32>(kth));
      weights[i] = kept; mass += dot(kept, vec4<f32>(1.0));`,
          "0u",
          "loads",
        )
      }
  }
  // Weights above the edge are kept, and the first few that equal it.
  var edge = 0u;
  var equals = 0u;
  if (params.topP < 1.0) {
    let wanted = max(params.topP * sumFour(vec4<f32>(mass, 0.0, 0.0, 0.0)).x, 1e-30);
${
        thresholdSearch(team, {
          ...weightSearch,
          name: "crossing",
          amount: "weights[i]",
          required: "wanted",
        })
      }
    edge = crossing;
    mass = 0.0;
${
        teamWalk(
          team,
          `mass += dot(select(vec4<f32>(0.0), weights[i], bitcast<vec4<u32>>(weights[i]) > vec4<u32>(edge)), vec4<f32>(1.0));`,
          "0u",
          "loads",
        )
      }
    let missing = wanted - sumFour(vec4<f32>(mass, 0.0, 0.0, 0.0)).x;
    equals = u32(max(1.0, ceil(min(missing / bitcast<f32>(edge), 4e6))));
  }
  // From here on a lane reads weights that other lanes wrote.
  storageBarrier();
  let share = (loads + ${lanes - 1}u) / ${lanes}u;
  let first = min(lane * share, loads);
  let last = min(first + share, loads);
  var shareAbove = 0.0;
  var same = vec4<u32>(0u);
  for (var i = first; i < last; i++) {
    let weight = weights[i];
    let words = bitcast<vec4<u32>>(weight);
    shareAbove += dot(select(vec4<f32>(0.0), weight, words > vec4<u32>(edge)), vec4<f32>(1.0));
    same += vec4<u32>(words == vec4<u32>(edge));
  }
  shareMass[lane] = shareAbove;
  shareEqual[lane] = same.x + same.y + same.z + same.w;
  workgroupBarrier();
  if (lane == 0u) {
    let each = bitcast<f32>(edge);
    var total = 0.0;
    var left = equals;
    for (var n = 0u; n < ${lanes}u; n++) {
      let taken = min(left, shareEqual[n]);
      left -= taken;
      shareEqual[n] = taken;
      shareMass[n] += f32(taken) * each;
      total += shareMass[n];
    }
    let words = philox(
      vec4<u32>(step[0], 0u, ${samplerStream}u, 0u),
      vec2<u32>(params.seedLow, params.seedHigh));
    let goal = uniformOf(words.x) * total;
    var before = 0.0;
    owner = 0u;
    ownerGoal = 0.0;
    ownerEqual = shareEqual[0];
    for (var n = 0u; n < ${lanes}u; n++) {
      if (shareMass[n] > 0.0 && before <= goal) {
        owner = n;
        ownerGoal = goal - before;
        ownerEqual = shareEqual[n];
      }
      before += shareMass[n];
    }
  }
  workgroupBarrier();
  if (lane == owner) {
    // Rounding may carry the goal past the last kept token of the share: the last one seen stands.
    var chosen = best;
    var before = 0.0;
    var left = ownerEqual;
    for (var i = first; i < last; i++) {
      let four = weights[i];
${
        ["x", "y", "z", "w"].map((axis, n) => /* wgsl */ `
      {
        let weight = four.${axis};
        let word = bitcast<u32>(weight);
        let tie = word == edge && left > 0u;
        left -= u32(tie);
        if (weight > 0.0 && (tie || word > edge)) {
          if (before <= ownerGoal) { chosen = 4u * i + ${n}u; }
          before += weight;
        }
      }`).join("")
      }
    }
    advance(chosen);
  }`,
    ),
  ].join("\n");
}

/** What is drawn from on the host: the weights in index order, those that are left out being 0. */
export function keptWeights(
  logits: ArrayLike<number>,
  columns: number,
  { inverseTemperature, topP, topK }: {
    readonly inverseTemperature: number;
    readonly topP: number;
    readonly topK: number;
  },
): Float32Array {
  const clamped = (i: number) => Math.min(Math.max(logits[i]!, -3e38), 3e38);
  const peak = clamped(hostArgmax(logits, 0, columns));
  const weights = new Float32Array(columns);
  for (let i = 0; i < columns; i++) {
    if (!Number.isNaN(logits[i]!)) weights[i] = Math.exp((clamped(i) - peak) * inverseTemperature);
  }
  if (topK > 0) {
    const least = weights.slice().sort()[columns - topK]!;
    for (let i = 0; i < columns; i++) if (weights[i]! < least) weights[i] = 0;
  }
  let total = 0;
  for (let i = 0; i < columns; i++) total += weights[i]!;
  if (topP >= 1) return weights;
  // Weights so small that all of them together cannot reach what topP leaves out need no sorting.
  const negligible = (1 - topP) * total / columns;
  const sorted = weights.filter((weight) => weight >= negligible).sort();
  const wanted = Math.max(topP * total, 1e-30);
  let edge = 0, mass = 0;
  for (let n = sorted.length - 1; n >= 0 && mass < wanted; n--) mass += edge = sorted[n]!;
  let above = 0;
  for (const weight of sorted) if (weight > edge) above += weight;
  let equals = Math.max(1, Math.ceil((wanted - above) / edge));
  for (let i = 0; i < columns; i++) {
    if (weights[i]! > edge || (weights[i] === edge && equals-- > 0)) continue;
    weights[i] = 0;
  }
  return weights;
}

function hostSample(
  arrays: StateArrays & { readonly input: Float32Array },
  parameters: {
    readonly columns: number;
    readonly capacity: number;
    readonly inverseTemperature: number;
    readonly topP: number;
    readonly topK: number;
    readonly seedLow: number;
    readonly seedHigh: number;
  },
): void {
  const { columns, capacity, seedLow, seedHigh } = parameters;
  const weights = keptWeights(arrays.input, columns, parameters);
  let total = 0;
  for (const weight of weights) total += weight;
  const words = philox4x32([arrays.step[0]!, 0, samplerStream, 0], [seedLow, seedHigh]);
  const goal = uniformOf(words[0]) * total;
  let chosen = hostArgmax(arrays.input, 0, columns), before = 0;
  for (let i = 0; i < columns && before <= goal; i++) {
    if (weights[i] === 0) continue;
    chosen = i;
    before += weights[i]!;
  }
  advanceOnHost(arrays, chosen, capacity);
}
