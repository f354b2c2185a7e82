/**
 * The mixture-of-experts feed-forward layer: a linear router, SwiGLU experts that compute only their own tokens, and the
 * weighted sum of their outputs.
 *
 * @module
 */
import { binary } from "../tensor/elementwise.ts";
import { linear } from "../tensor/linear.ts";
import {
  combineExperts,
  dispatchTokens,
  moeCapacity,
  routeTokens,
  type Routing,
} from "../tensor/moe.ts";
import { concat, slice } from "../tensor/movement.ts";
import { isDifferentiated } from "../tensor/tape.ts";
import { empty, type Tensor } from "../tensor/tensor.ts";
import type { Weight } from "../tensor/weight.ts";
import { projection } from "./layers.ts";
import type { ParameterScope } from "./parameters.ts";

/** The weights of the layer. */
export interface MoeLayer {
  /** Router [E, H], f32. */
  readonly router: Weight;
  /** SwiGLU experts: the parameters of each, `gate_proj` and `up_proj` [F, H], `down_proj` [H, F], with their adapters. */
  readonly experts: readonly ParameterScope[];
}

/** How tokens are routed. */
export interface MoeOptions {
  /** Experts per token. */
  readonly k: 1 | 2;
  /** Slots per expert over the even share. */
  readonly capacityFactor: number;
  /** Least slots per expert. */
  readonly minCapacity: number;
  /** Random token selection of over-full experts, f32 [T, E] in (0, 1). */
  readonly uniform?: Tensor;
  /** Noise on the second choice, f32 [T, E]. */
  readonly gumbel?: Tensor;
  /** Added to the result, f32 [T, H]. */
  readonly residual?: Tensor;
}

/** Result of {@linkcode moeFeedForward}. */
export interface MoeResult {
  /** f32 [T, H]. */
  readonly y: Tensor;
  /** Where the tokens went. */
  readonly routing: Routing;
  /** Router logits, f32 [T, E]. */
  readonly logits: Tensor;
}

/**
 * Runs the layer on tokens [T, H]. Row counts per expert stay on the device: the products are sized for the capacity, and
 * outside a differentiation rows beyond an expert's count are not computed.
 *
 * Gradients reach the tokens, the experts with their adapters, and the router: by the weights of the outputs and by the balance
 * loss `routing.auxLoss`. Tokens that every choice dropped get theirs from the residual and the router alone.
 */
export function moeFeedForward(
  x: Tensor,
  { router, experts }: MoeLayer,
  options: MoeOptions,
): MoeResult {
  const { device } = x;
  const { k, capacityFactor, minCapacity, uniform, gumbel, residual } = options;
  const tokens = x.shape[0]!;
  const capacity = moeCapacity(tokens, experts.length, capacityFactor, minCapacity, k);
  const logits = linear(x, router);
  const routing = routeTokens(logits, {
    k,
    capacity,
    ...(uniform === undefined ? {} : { uniform }),
    ...(gumbel === undefined ? {} : { gumbel }),
  });
  using scope = device.scope();
  const outputs = isDifferentiated(x) || experts.some(isTrained)
    ? dispatchedExperts(x, experts, routing)
    : selectedExperts(x, experts, routing);
  return { y: scope.keep(combineExperts(routing, outputs, residual)), routing, logits };
}

/**
 * Whether a matrix of the expert or an adapter of it is differentiated, or an adapter drops some of its input: a block that is
 * recomputed runs outside of the differentiation first.
 */
function isTrained(expert: ParameterScope): boolean {
  return ["gate_proj.weight", "up_proj.weight", "down_proj.weight"].some((name) => {
    const adapters = expert.adaptersOf(name);
    return adapters.some(({ dropout }) => dropout !== undefined) ||
      isDifferentiated(expert.weight(name), ...adapters.flatMap(({ a, b }) => [a, b]));
  });
}

/** Outputs of the experts, f32 [E * capacity, H], from products that take their rows from `x` and skip empty slots. */
function selectedExperts(
  x: Tensor,
  experts: readonly ParameterScope[],
  { capacity, tokenOf, used }: Routing,
): Tensor {
  const { device } = x;
  const rows = experts.length * capacity;
  const inner = experts[0]!.weight("gate_proj.weight").rows;
  const gated = empty(device, [rows, inner], "f32", "expert gate");
  const up = empty(device, [rows, inner], "f32", "expert up");
  const index = tokenOf.reshape(-1);
  experts.forEach((expert, e) => {
    const first = e * capacity;
    const select = { rows: capacity, index, first, counts: used, count: e };
    projection(expert, "gate_proj", x, { select, into: { tensor: gated, firstRow: first } });
    projection(expert, "up_proj", x, { select, into: { tensor: up, firstRow: first } });
  });
  const hidden = binary("swiglu", gated, up);
  const outputs = empty(device, [rows, x.shape[1]!], "f32", "expert outputs");
  experts.forEach((expert, e) => {
    const first = e * capacity;
    projection(expert, "down_proj", hidden, {
      select: { rows: capacity, first, counts: used, count: e },
      into: { tensor: outputs, firstRow: first },
    });
  });
  return outputs;
}

/** The same in steps that can be differentiated: every expert computes all its slots, empty ones on zeros. */
function dispatchedExperts(
  x: Tensor,
  experts: readonly ParameterScope[],
  routing: Routing,
): Tensor {
  const { capacity } = routing;
  const slots = dispatchTokens(routing, x);
  const outputs = experts.map((expert, e) => {
    const rows = experts.length === 1 ? slots : slice(slots, 0, e * capacity, capacity);
    const gated = projection(expert, "gate_proj", rows);
    const hidden = binary("swiglu", gated, projection(expert, "up_proj", rows));
    return projection(expert, "down_proj", hidden);
  });
  return outputs.length === 1 ? outputs[0]! : concat(outputs, 0);
}
