/**
 * Mixture-of-experts routing on the device: which expert serves which token, in which slot, with which weight.
 *
 * @module
 */
import {
  balanceProgram,
  combineProgram,
  gateProgram,
  keepProgram,
  singleTokenProgram,
  slotProgram,
} from "../kernels/moe.ts";
import {
  combineGradientProgram,
  combineWeightGradientProgram,
  dispatchGradientProgram,
  dispatchTokensProgram,
  routingGradientProgram,
} from "../kernels/moe_gradient.ts";
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import type { BufferRange } from "../device/mod.ts";
import { note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** Where every token goes. All of it stays on the device. */
export interface Routing {
  /** Softmax over all experts, f32 [T, E]. */
  readonly gates: Tensor;
  /** First choices per expert before dropping, u32 [E]. */
  readonly expertCounts: Tensor;
  /** E * sum_e(mean gate_e * fraction of first choices_e), f32 [1]. */
  readonly auxLoss: Tensor;
  /** Filled slots, u32 [E]. */
  readonly used: Tensor;
  /** Token of a slot, u32 [E, capacity]; undefined from `used` on. */
  readonly tokenOf: Tensor;
  /** Chosen experts, u32 [T, k]. */
  readonly expert: Tensor;
  /** Slot of a choice, i32 [T, k]; -1 when dropped. */
  readonly slot: Tensor;
  /** Weight of the expert's output, f32 [T, k]; 0 when dropped. */
  readonly weight: Tensor;
  /** T. */
  readonly tokens: number;
  /** E. */
  readonly experts: number;
  /** Slots per expert. */
  readonly capacity: number;
  /** Experts per token. */
  readonly k: 1 | 2;
}

/** Options of {@linkcode routeTokens}. */
export interface RouteOptions {
  /** Experts per token. */
  readonly k: 1 | 2;
  /** Slots per expert. */
  readonly capacity: number;
  /** f32 [T, E], top-1 only: an over-full expert keeps the tokens with the largest numbers (random token selection). */
  readonly uniform?: Tensor;
  /** f32 [T, E], top-2 only: added to the logits when the second expert is chosen. */
  readonly gumbel?: Tensor;
}

/**
 * Slots per expert: max(ceil(tokens / experts * k * factor), minimum, 1); top-2 doubles the share, as DeepSpeed does. The
 * product is rounded to float32, as DeepSpeed's tensor of the factor makes it: 10 * 1.1 is 11 slots, not 12.
 */
export function moeCapacity(
  tokens: number,
  experts: number,
  factor: number,
  minimum: number,
  k: 1 | 2,
): number {
  const share = Math.fround(Math.fround(tokens / experts) * Math.fround(factor * k));
  return Math.max(Math.ceil(share), minimum, 1);
}

/**
 * Routes tokens to experts.
 *
 * Top-1: the expert with the largest logit, weighted by its softmax probability over all experts. Top-2: two experts,
 * weights renormalised over what was kept; first choices fill slots before second ones. A choice beyond the capacity is
 * dropped.
 *
 * Gates, weights and the balance loss carry gradients to the logits; which expert is chosen and what is dropped does not.
 *
 * @param logits Router logits, f32 [T, E].
 * @throws {RangeError} when shapes do not fit or there are fewer experts than choices.
 */
export function routeTokens(
  logits: Tensor,
  { k, capacity, uniform, gumbel }: RouteOptions,
): Routing {
  const [tokens, experts] = logits.shape as [number, number];
  for (const [name, extra] of Object.entries({ uniform, gumbel })) {
    if (extra !== undefined && (extra.shape[0] !== tokens || extra.shape[1] !== experts)) {
      throw new RangeError(
        `Cannot route with ${name} ${shapeText(extra.shape)}: expected ${shapeText(logits.shape)}`,
      );
    }
  }
  if (logits.shape.length !== 2 || experts < k) {
    throw new RangeError(
      `Cannot route to ${k} experts with logits ${
        shapeText(logits.shape)
      }: expected [T, E] with E >= ${k}`,
    );
  }
  const { device } = logits;
  const make = (shape: number[], dtype: "f32" | "u32" | "i32") =>
    empty(device, shape, dtype, "routing");
  const routing: Routing = {
    gates: make([tokens, experts], "f32"),
    expertCounts: make([experts], "u32"),
    auxLoss: make([1], "f32"),
    used: make([experts], "u32"),
    tokenOf: make([experts, capacity], "u32"),
    expert: make([tokens, k], "u32"),
    slot: make([tokens, k], "i32"),
    weight: make([tokens, k], "f32"),
    tokens,
    experts,
    capacity,
    k,
  };
  noteRouting(logits, routing);
  const noise = k === 2 ? gumbel : undefined;
  const noiseRange: Record<string, BufferRange> = noise === undefined ? {} : { noise: noise.range };
  const { gates, expert, slot, weight, tokenOf, used } = routing;
  // Ten arrays are more than every adapter binds; the kernels for many tokens need six.
  if (tokens === 1 && device.capabilities.bindings >= 10) {
    device.dispatch(
      singleTokenProgram(k, noise !== undefined, experts),
      {
        logits: logits.range,
        gates: gates.range,
        expert: expert.range,
        slot: slot.range,
        weight: weight.range,
        tokenOf: tokenOf.range,
        counts: routing.expertCounts.range,
        used: used.range,
        loss: routing.auxLoss.range,
        ...noiseRange,
      },
      { capacity },
      [1],
    );
    return routing;
  }
  const groups = Math.ceil(tokens / 64);
  using _scope = device.scope();
  const kept = make([tokens, k], "u32");
  const chosen = { gates: gates.range, expert: expert.range };
  device.dispatch(
    gateProgram(k, noise !== undefined, experts),
    { logits: logits.range, ...chosen, ...noiseRange },
    { tokens },
    [groups],
  );
  const priority = k === 1 ? uniform : undefined;
  device.dispatch(
    keepProgram(k, priority !== undefined),
    {
      expert: expert.range,
      kept: kept.range,
      ...(priority === undefined ? {} : { priority: priority.range }),
    },
    { tokens, experts, capacity },
    [groups],
    { flops: tokens * tokens * k },
  );
  device.dispatch(
    slotProgram(k),
    { ...chosen, kept: kept.range, slot: slot.range, weight: weight.range, tokenOf: tokenOf.range },
    { tokens, experts, capacity },
    [groups],
    { flops: tokens * tokens * k },
  );
  device.dispatch(
    balanceProgram(k),
    {
      ...chosen,
      kept: kept.range,
      counts: routing.expertCounts.range,
      used: used.range,
      loss: routing.auxLoss.range,
    },
    { tokens, experts },
    [1],
  );
  return routing;
}

function noteRouting(logits: Tensor, routing: Routing): void {
  const { gates, weight, auxLoss, expert, slot, expertCounts, tokens, experts, k } = routing;
  note({
    name: "routeTokens",
    inputs: [logits],
    outputs: [gates, weight, auxLoss],
    saved: [gates, expert, slot, expertCounts],
    backward([byGates, byWeight, byLoss]) {
      const result = empty(logits.device, logits.shape, "f32", "routing gradient");
      logits.device.dispatch(
        routingGradientProgram(k, experts, {
          gates: byGates !== undefined,
          weight: byWeight !== undefined,
          loss: byLoss !== undefined,
        }),
        {
          gates: gates.range,
          expert: expert.range,
          slot: slot.range,
          counts: expertCounts.range,
          output: result.range,
          ...optional({ gatesGradient: byGates, weightGradient: byWeight, lossGradient: byLoss }),
        },
        { tokens },
        [Math.ceil(tokens / 64)],
        { flops: 8 * logits.size, bytes: 12 * logits.size },
      );
      return [result];
    },
  });
}

function optional(
  tensors: Readonly<Record<string, Tensor | undefined>>,
): Record<string, BufferRange> {
  const ranges: Record<string, BufferRange> = {};
  for (const [name, value] of Object.entries(tensors)) if (value) ranges[name] = value.range;
  return ranges;
}

/**
 * Every expert's tokens: row e * capacity + s is the token in slot s of expert e, zeros where the slot is empty. Products over
 * such rows differentiate; inference selects the rows inside the product instead (see `linear`).
 *
 * @param x f32 [T, H].
 * @returns f32 [E * capacity, H].
 * @throws {RangeError} when there are other than T tokens.
 */
export function dispatchTokens(routing: Routing, x: Tensor): Tensor {
  const { tokens, experts, capacity, k, tokenOf, used, expert, slot } = routing;
  const { device } = x;
  if (x.dtype !== "f32" || x.shape.length !== 2 || x.shape[0] !== tokens) {
    throw new RangeError(
      `Cannot dispatch ${x.dtype} ${shapeText(x.shape)}: expected f32 [${tokens}, H]`,
    );
  }
  const width = x.shape[1]!, rows = experts * capacity;
  const slots = empty(device, [rows, width], "f32", "dispatched tokens");
  device.dispatch(
    dispatchTokensProgram(),
    { x: x.range, tokenOf: tokenOf.range, used: used.range, slots: slots.range },
    { rows, width, capacity },
    [Math.ceil(rows * width / 64)],
    { bytes: 8 * rows * width },
  );
  note({
    name: "dispatchTokens",
    inputs: [x],
    outputs: [slots],
    saved: [expert, slot],
    backward([gradient]) {
      const result = empty(device, x.shape, "f32", "dispatch gradient");
      device.dispatch(
        dispatchGradientProgram(k),
        {
          gradient: gradient!.range,
          expert: expert.range,
          slot: slot.range,
          output: result.range,
        },
        { tokens, width, capacity },
        [Math.ceil(x.size / 64)],
        { flops: k * x.size, bytes: 4 * (k + 1) * x.size },
      );
      return [result];
    },
  });
  return slots;
}

/**
 * The weighted sum of the expert outputs of every token; dropped choices add nothing. f32 [T, H].
 *
 * @param outputs Expert e's slot s at row e * capacity + s, f32 [E * capacity, H].
 * @param residual Added, f32 [T, H].
 */
export function combineExperts(routing: Routing, outputs: Tensor, residual?: Tensor): Tensor {
  const { tokens, experts, capacity, k, expert, slot, weight } = routing;
  const width = outputs.shape[1]!;
  if (outputs.shape[0] !== experts * capacity) {
    throw new RangeError(
      `Cannot combine expert outputs ${shapeText(outputs.shape)}: expected [${
        experts * capacity
      }, H]`,
    );
  }
  const result = empty(outputs.device, [tokens, width], "f32", "combine");
  outputs.device.dispatch(
    combineProgram(k, residual !== undefined),
    {
      outputs: outputs.range,
      expert: expert.range,
      slot: slot.range,
      weight: weight.range,
      result: result.range,
      ...(residual === undefined ? {} : { residual: residual.range }),
    },
    { tokens, width, capacity },
    [Math.ceil(tokens * width / 64)],
    { flops: 2 * k * tokens * width, bytes: 4 * (k + 2) * tokens * width },
  );
  note({
    name: "combineExperts",
    inputs: [outputs, weight, residual],
    outputs: [result],
    saved: [outputs, weight, expert, slot, routing.tokenOf, routing.used],
    backward: ([gradient], [wantsOutputs, wantsWeight]) => [
      wantsOutputs ? outputsGradient(routing, gradient!) : undefined,
      wantsWeight ? weightGradient(routing, outputs, gradient!) : undefined,
      gradient,
    ],
  });
  return result;
}

function outputsGradient(
  { experts, capacity, k, tokenOf, used, expert, weight }: Routing,
  gradient: Tensor,
): Tensor {
  const rows = experts * capacity, width = gradient.shape[1]!;
  const result = empty(gradient.device, [rows, width], "f32", "expert outputs gradient");
  gradient.device.dispatch(
    combineGradientProgram(k),
    {
      gradient: gradient.range,
      tokenOf: tokenOf.range,
      used: used.range,
      expert: expert.range,
      weight: weight.range,
      output: result.range,
    },
    { rows, width, capacity },
    [Math.ceil(rows * width / 64)],
    { flops: rows * width, bytes: 8 * rows * width },
  );
  return result;
}

function weightGradient(
  { tokens, capacity, k, expert, slot }: Routing,
  outputs: Tensor,
  gradient: Tensor,
): Tensor {
  const { device } = gradient;
  const rows = tokens * k, width = gradient.shape[1]!;
  const result = empty(device, [tokens, k], "f32", "combine weight gradient");
  const team = rowTeam(device.capabilities, width);
  device.dispatch(
    combineWeightGradientProgram(team, k),
    {
      gradient: gradient.range,
      outputs: outputs.range,
      expert: expert.range,
      slot: slot.range,
      output: result.range,
    },
    { rows, width, capacity },
    [teamGroups(team, rows)],
    { flops: 2 * rows * width, bytes: 8 * rows * width },
  );
  return result;
}
