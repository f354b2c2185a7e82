/**
 * Costs of giving predicted instances (queries) to labels, for a batch of targets at once: one matrix per target, a column per
 * label and then, up to a square matrix, columns that mean "no instance".
 *
 * Traffic: a few reads per pair, one write; masks are read once per pair. Tiling: 64 invocations, one pair each; masks by a team of
 * lanes per pair (see `row_team.ts`).
 *
 * Source: VividMed `mmmm/models/segvol/modeling/sam.py` (`InstanceSamLoss._match_instances`).
 *
 * @module
 */
import { type ArraySpec, type Program, program } from "../device/mod.ts";
import { boxCorners, type BoxDims, giouOf, giouWgsl } from "./boxes.ts";
import { logisticWgsl } from "./loss_pixels.ts";
import {
  type RowTeam,
  teamKey,
  teamMain,
  teamReductions,
  teamSubgroups,
  teamWalk,
} from "./row_team.ts";

/** What a query costs by its logit: `probability`, 1 - p as an instance and p as none, or its `focal` loss. */
export type ClassCost = "probability" | "focal";

/** Which parts a cost has. */
export interface CostParts {
  readonly class: ClassCost;
  /** Axes of the boxes, when boxes count. */
  readonly boxes?: BoxDims;
  /** Whether costs of masks are added. */
  readonly masks: boolean;
}

const classWgsl: Readonly<Record<ClassCost, string>> = {
  probability:
    "fn classCost(x: f32, wanted: bool) -> f32 { return logistic(select(x, -x, wanted)); }",
  focal: /* wgsl */ `
fn classCost(x: f32, wanted: bool) -> f32 {
  let wrong = select(x, -x, wanted);
  return select(params.negative, params.positive, wanted) * exp(params.gamma * logSigmoid(wrong)) *
    -logSigmoid(-wrong);
}`,
};

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const logSigmoid = (x: number) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));

/** Focal loss of a logit whose wrong answer has the probability sigmoid(wrong). */
const focal = (wrong: number, gamma: number, weight: number) =>
  weight * Math.exp(gamma * logSigmoid(wrong)) * -logSigmoid(-wrong);

const optional = (arrays: Record<string, ArraySpec>, present: boolean): Record<string, ArraySpec> =>
  present ? arrays : {};

/**
 * costs[t, q, k] for `targets` x `queries` x `columns`: for the labels k < n of target t (`spans` holds their first row and n)
 * classWeight class + l1Weight L1 + giouWeight (1 - GIoU) + masks, for k from n to `queries` classWeight class + masks, 0 beyond.
 * Boxes are centre and size. Dispatch ceil(targets * queries * columns / 64).
 */
export function instanceCostProgram(parts: CostParts): Program {
  const { boxes: dims, masks } = parts;
  const width = 2 * (dims ?? 0);
  return program(
    `instance cost ${parts.class}${dims === undefined ? "" : ` boxes ${dims}`}${
      masks ? " masks" : ""
    }`,
    () => ({
      arrays: {
        logits: { type: "f32", access: "read" },
        spans: { type: "u32", access: "read" },
        costs: { type: "f32", access: "read_write" },
        ...optional({
          boxes: { type: "f32", access: "read" },
          labels: { type: "f32", access: "read" },
        }, dims !== undefined),
        ...optional({ masks: { type: "f32", access: "read" } }, masks),
      },
      parameters: {
        targets: "u32",
        queries: "u32",
        columns: "u32",
        classWeight: "f32",
        gamma: "f32",
        negative: "f32",
        positive: "f32",
        l1Weight: "f32",
        giouWeight: "f32",
      },
      wgsl: [
        logisticWgsl,
        classWgsl[parts.class],
        dims === undefined ? "" : `${giouWgsl(dims)}
fn boxCost(query: u32, label: u32) -> f32 {
  var mine: Box${dims};
  var other: Box${dims};
  var distance = 0.0;
  for (var i = 0u; i < ${width}u; i++) {
    mine[i] = boxes[query * ${width}u + i];
    other[i] = labels[label * ${width}u + i];
    distance += abs(mine[i] - other[i]);
  }
  return params.l1Weight * distance / ${width}.0 +
    params.giouWeight * (1.0 - giou${dims}(corners${dims}(mine), corners${dims}(other)));
}`,
        /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.targets * params.queries * params.columns) { return; }
  let query = i / params.columns;
  let column = i % params.columns;
  let item = query / params.queries;
  let known = spans[2u * item + 1u];
  let wanted = column < known;
  if (!wanted && column >= params.queries) { costs[i] = 0.0; return; }
  var cost = params.classWeight * classCost(logits[query], wanted);
  ${dims === undefined ? "" : "if (wanted) { cost += boxCost(query, spans[2u * item] + column); }"}
  costs[i] = cost${masks ? " + masks[i]" : ""};
}`,
      ].join("\n"),
      host(arrays, parameters) {
        const { logits, spans, costs, boxes, labels, masks: maskCosts } = arrays as unknown as
          & Record<"logits" | "costs", Float32Array>
          & Partial<Record<"boxes" | "labels" | "masks", Float32Array>>
          & { spans: Uint32Array };
        const { targets, queries, columns, classWeight, gamma, negative, positive } = parameters;
        const boxAt = (from: Float32Array, row: number) =>
          from.subarray(row * width, (row + 1) * width);
        for (let query = 0, i = 0; query < targets * queries; query++) {
          const [first, known] = spans.subarray(2 * Math.floor(query / queries));
          for (let column = 0; column < columns; column++, i++) {
            const wanted = column < known!;
            costs[i] = 0;
            if (!wanted && column >= queries) continue;
            const wrong = wanted ? -logits[query]! : logits[query]!;
            let cost = classWeight *
              (parts.class === "probability"
                ? sigmoid(wrong)
                : focal(wrong, gamma, wanted ? positive : negative));
            if (wanted && boxes !== undefined && labels !== undefined) {
              const mine = boxAt(boxes, query), other = boxAt(labels, first! + column);
              const distance = mine.reduce((sum, x, n) => sum + Math.abs(x - other[n]!), 0);
              cost += parameters.l1Weight * distance / width + parameters.giouWeight *
                  (1 - giouOf(boxCorners(mine), boxCorners(other)));
            }
            costs[i] = cost + (maskCosts?.[i] ?? 0);
          }
        }
      },
    }),
  );
}

/**
 * costs[t, q, k] of masks of `length` voxels: diceWeight (1 - 2 sum(p y) / max(sum(p) + sum(y), 1e-8)) + focalWeight * mean focal
 * loss, with p = sigmoid of the logits of query q and y the mask of label k; where there is no such label, 0 or, with `empty` 1, the
 * same for a mask without voxels. Dispatch `teamGroups(team, rows)` for rows = targets * queries * columns.
 */
export function maskCostProgram(team: RowTeam): Program {
  return program(`mask cost ${teamKey(team)}`, () => ({
    arrays: {
      logits: { type: "f32", access: "read" },
      labels: { type: "f32", access: "read" },
      spans: { type: "u32", access: "read" },
      costs: { type: "f32", access: "read_write" },
    },
    parameters: {
      rows: "u32",
      queries: "u32",
      columns: "u32",
      length: "u32",
      empty: "u32",
      gamma: "f32",
      negative: "f32",
      positive: "f32",
      diceWeight: "f32",
      focalWeight: "f32",
    },
    subgroups: teamSubgroups(team),
    wgsl: [
      logisticWgsl,
      teamReductions(team, [{ name: "sumRow", type: "vec4<f32>", operation: "add" }]),
      teamMain(
        team,
        /* wgsl */ `
  let query = row / params.columns;
  let column = row % params.columns;
  let at = 2u * (query / params.queries);
  let wanted = column < spans[at + 1u];
  let counts = wanted || (params.empty == 1u && column < params.queries);
  let voxels = query * params.length;
  let label = select(0u, spans[at] + column, wanted) * params.length;
  let length = select(0u, params.length, counts);
  var sums = vec4<f32>(0.0);
${
          teamWalk(
            team,
            /* wgsl */ `
      let x = logits[voxels + i];
      let y = select(0.0, labels[label + i], wanted);
      let wrong = x * (1.0 - 2.0 * y);
      let p = logistic(x);
      let weight = params.negative + (params.positive - params.negative) * y;
      sums += vec4<f32>(p, y, p * y, -weight * exp(params.gamma * logSigmoid(wrong)) * logSigmoid(-wrong));`,
            "0u",
            "length",
          )
        }
  let all = sumRow(sums);
  if (lane == 0u) {
    let dice = 1.0 - 2.0 * all.z / max(all.x + all.y, 1e-8);
    let cost = params.diceWeight * dice + params.focalWeight * all.w / f32(params.length);
    costs[row] = select(0.0, cost, counts);
  }`,
      ),
    ].join("\n"),
    host({ logits, labels, spans, costs }, parameters) {
      const { rows, queries, columns, length, gamma, negative, positive } = parameters;
      for (let row = 0; row < rows; row++) {
        const query = Math.floor(row / columns), column = row % columns;
        const [first, known] = spans.subarray(2 * Math.floor(query / queries));
        const wanted = column < known!;
        costs[row] = 0;
        if (!wanted && (parameters.empty === 0 || column >= queries)) continue;
        let predicted = 0, target = 0, both = 0, loss = 0;
        for (let i = 0; i < length; i++) {
          const x = logits[query * length + i]!;
          const y = wanted ? labels[(first! + column) * length + i]! : 0;
          const p = sigmoid(x);
          predicted += p;
          target += y;
          both += p * y;
          loss += focal(x * (1 - 2 * y), gamma, negative + (positive - negative) * y);
        }
        const dice = 1 - 2 * both / Math.max(predicted + target, 1e-8);
        costs[row] = parameters.diceWeight * dice + parameters.focalWeight * loss / length;
      }
    },
  }));
}

/**
 * What an assignment means for every query: `chosen` is the row of its label, -1 for none; `hits` 1 or 0; `hitWeight` and
 * `missWeight` the scale of its target (`scales`: of hits, of misses) where it is one. Where a target has no assignment, because
 * its costs are no numbers, the weights of hits are no numbers either (`nan` holds the bits). Dispatch ceil(targets * queries / 64).
 */
export function instanceMatchProgram(): Program {
  return program("instance match", () => ({
    arrays: {
      rowToColumn: { type: "i32", access: "read" },
      status: { type: "u32", access: "read" },
      spans: { type: "u32", access: "read" },
      scales: { type: "f32", access: "read" },
      chosen: { type: "i32", access: "read_write" },
      hits: { type: "f32", access: "read_write" },
      hitWeight: { type: "f32", access: "read_write" },
      missWeight: { type: "f32", access: "read_write" },
    },
    parameters: { targets: "u32", queries: "u32", nan: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.targets * params.queries) { return; }
  let at = i / params.queries;
  let column = rowToColumn[i];
  let hit = column >= 0 && column < i32(spans[2u * at + 1u]);
  chosen[i] = select(-1, i32(spans[2u * at]) + column, hit);
  hits[i] = select(0.0, 1.0, hit);
  hitWeight[i] = select(select(0.0, scales[2u * at], hit), bitcast<f32>(params.nan), status[at] != 0u);
  missWeight[i] = select(scales[2u * at + 1u], 0.0, hit);
}`,
    host(arrays, { targets, queries }) {
      const { rowToColumn, status, spans, scales, chosen, hits, hitWeight, missWeight } = arrays;
      for (let i = 0; i < targets * queries; i++) {
        const at = Math.floor(i / queries), column = rowToColumn[i]!;
        const hit = column >= 0 && column < spans[2 * at + 1]!;
        chosen[i] = hit ? spans[2 * at]! + column : -1;
        hits[i] = hit ? 1 : 0;
        hitWeight[i] = status[at] !== 0 ? NaN : hit ? scales[2 * at]! : 0;
        missWeight[i] = hit ? 0 : scales[2 * at + 1]!;
      }
    },
  }));
}
