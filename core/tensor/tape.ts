/**
 * Reverse-mode differentiation: operations note on a tape how to carry a gradient back from their outputs to their
 * inputs, and {@linkcode differentiate} walks the tape backwards.
 *
 * A tape exists only inside `differentiate`. Values that no leaf reaches are constants: nothing is noted for them, and
 * frozen weights get no gradient and cost no memory. What an operation saves for its way back is held on the device
 * until it was used, even where the forward pass has released it.
 *
 * @module
 */
import type { Device } from "../device/mod.ts";
import { accumulateProgram } from "../kernels/accumulate.ts";
import { binaryProgram, elementwiseGroups, lanesFor } from "../kernels/elementwise.ts";
import { empty, type GradientNode, shapeText, Tensor, tensor } from "./tensor.ts";
import type { Weight } from "./weight.ts";

/** A value that may have a gradient. The gradient of a weight is a row-major f32 tensor [rows, columns]. */
export type Differentiable = Tensor | Weight;

/** What an operation notes. */
export interface Step {
  /** Name of the operation, in messages. */
  readonly name: string;
  /** Inputs, in the order in which `backward` returns their gradients; absent ones have no gradient. */
  readonly inputs: readonly (Differentiable | undefined)[];
  /** Results, in the order in which `backward` gets their gradients. */
  readonly outputs: readonly Tensor[];
  /** Tensors whose content `backward` reads: inputs, outputs or intermediate ones. */
  readonly saved: readonly Tensor[];
  /**
   * Carries gradients back. Runs in a scope of its own and is not noted itself.
   *
   * @param gradients Of each output, in its shape; undefined where the result did not depend on it (at least one is there).
   * @param wanted Whether the gradient of each input is needed.
   * @returns Of each wanted input, with as many elements as it has; a gradient may be passed on as it came.
   */
  backward(
    gradients: readonly (Tensor | undefined)[],
    wanted: readonly boolean[],
  ): readonly (Tensor | undefined)[];
}

interface Noted extends Step {
  readonly sources: readonly (GradientNode | undefined)[];
  readonly targets: readonly GradientNode[];
}

class Tape {
  noted: Noted[] = [];
  constructor(readonly device: Device) {}
}

let active: Tape | undefined;

function nodeOf(value: Differentiable | undefined): GradientNode | undefined {
  return value?.node !== undefined && value.node.tape === active ? value.node : undefined;
}

/** Whether one of the values depends on a leaf of the differentiation under way; then the operation must be noted. */
export function isDifferentiated(...values: readonly (Differentiable | undefined)[]): boolean {
  return active !== undefined && values.some((value) => nodeOf(value) !== undefined);
}

/** Notes an operation on the tape under way; does nothing where no input depends on a leaf. */
export function note(step: Step): void {
  if (!isDifferentiated(...step.inputs)) return;
  noteAlways(active!, step);
}

function noteAlways(tape: Tape, step: Step): void {
  const sources = step.inputs.map(nodeOf);
  const targets = step.outputs.map((output): GradientNode => {
    const node = { tape, gradient: undefined, own: false };
    output.node = node;
    return node;
  });
  for (const { buffer } of step.saved) tape.device.hold(buffer);
  tape.noted.push({ ...step, sources, targets });
}

/** The same values as a constant: no gradient flows through. Shares the memory. */
export function detach(x: Tensor): Tensor {
  return new Tensor(x.device, x.shape, x.dtype, x.buffer);
}

/** Runs `body` without noting anything, as for measurements inside a training step. */
export function withoutGradients<T>(body: () => T): T {
  const tape = active;
  active = undefined;
  try {
    return body();
  } finally {
    active = tape;
  }
}

/** total += scale * x in place; equal sizes. */
export function accumulate(total: Tensor, x: Tensor, scale = 1): void {
  if (total.size !== x.size) {
    throw new RangeError(`Cannot add ${shapeText(x.shape)} to ${shapeText(total.shape)} in place`);
  }
  const lanes = lanesFor(x.size);
  total.device.dispatch(
    accumulateProgram(lanes),
    { input: x.range, total: total.range },
    { count: x.size / lanes, scale },
    elementwiseGroups(x.size, lanes),
    { flops: 2 * x.size, bytes: 12 * x.size },
  );
}

/** Adds a gradient to what has arrived at a node. */
function arrive(node: GradientNode, gradient: Tensor): void {
  const { device } = gradient;
  const sum = node.gradient;
  if (sum === undefined) {
    device.hold(gradient.buffer);
    node.gradient = gradient;
  } else if (node.own) {
    accumulate(sum, gradient);
  } else {
    // What arrived first may be shared with other nodes: the sum needs memory of its own.
    const both = empty(device, sum.shape, "f32", "gradient");
    const lanes = lanesFor(sum.size);
    device.dispatch(
      binaryProgram("add", lanes),
      { left: sum.range, right: gradient.range, output: both.range },
      { count: sum.size / lanes, period: Math.max(1, sum.size / lanes) },
      elementwiseGroups(sum.size, lanes),
      { flops: sum.size, bytes: 12 * sum.size },
    );
    device.hold(both.buffer);
    device.unhold(sum.buffer);
    node.gradient = both;
    node.own = true;
  }
}

/** Walks the noted steps backwards from a gradient of the last result, and forgets them. */
function walk(tape: Tape): void {
  const { device } = tape;
  for (let step = tape.noted.pop(); step !== undefined; step = tape.noted.pop()) {
    const gradients = step.targets.map(({ gradient }) => gradient);
    if (gradients.some((gradient) => gradient !== undefined)) {
      using _scope = device.scope();
      const wanted = step.sources.map((source) => source !== undefined);
      const shaped = gradients.map((gradient, i) => gradient?.reshape(...step.outputs[i]!.shape));
      const results = step.backward(shaped, wanted);
      step.sources.forEach((source, i) => {
        const result = results[i];
        if (source === undefined || result === undefined) return;
        const input = step.inputs[i]!;
        const size = "parts" in input ? input.rows * input.columns : input.size;
        if (result.size !== size) {
          throw new RangeError(
            `The gradient of input ${i} of ${step.name} has shape ${
              shapeText(result.shape)
            }, expected ${size} values`,
          );
        }
        arrive(source, result);
      });
    }
    forget(device, step);
  }
}

function forget(device: Device, step: Noted): void {
  for (const { buffer } of step.saved) device.unhold(buffer);
  for (const node of step.targets) {
    if (node.gradient !== undefined) device.unhold(node.gradient.buffer);
    node.gradient = undefined;
  }
}

/** A value and what was asked for about it. */
export interface Differentiated {
  /** The result of the body, one element. Belongs to the caller's scope. */
  readonly value: Tensor;
  /**
   * Gradient of each leaf in its shape (a weight's is row-major), undefined where the value does not depend on it.
   * Belongs to the caller's scope.
   */
  readonly gradients: readonly (Tensor | undefined)[];
}

/**
 * Runs `body` and returns its value with the gradients of the leaves. Everything that `body` allocates is released
 * except its value: what else is wanted of it must be read inside or copied out to tensors made before.
 *
 * @param leaves f32 tensors and weights to differentiate by.
 * @param body Makes one value (f32, one element) from the leaves by operations of this room.
 * @param seed Gradient of the value itself, such as one over the number of accumulated batches. Default 1.
 * @throws {RangeError} when the body's value has other than one element.
 */
export function differentiate(
  device: Device,
  leaves: readonly Differentiable[],
  body: () => Tensor,
  seed = 1,
): Differentiated {
  if (active !== undefined) throw new TypeError("Cannot differentiate inside a differentiation");
  using scope = device.scope();
  const tape = active = new Tape(device);
  try {
    const nodes = leaves.map((leaf): GradientNode => {
      const node = { tape, gradient: undefined, own: false };
      leaf.node = node;
      return node;
    });
    const value = body();
    if (value.size !== 1) {
      throw new RangeError(
        `Cannot differentiate a value of shape ${shapeText(value.shape)}: expected one element`,
      );
    }
    const target = nodeOf(value);
    active = undefined;
    if (target !== undefined) {
      arrive(target, tensor(device, Float32Array.of(seed), value.shape));
      walk(tape);
    }
    const gradients = nodes.map((node, i) => {
      const gradient = node.gradient;
      return gradient && scope.keep(takeOver(device, gradient, shapeOf(leaves[i]!)));
    });
    return { value: scope.keep(value), gradients };
  } finally {
    active = undefined;
    for (const step of tape.noted) forget(device, step);
    for (const leaf of leaves) leaf.node = undefined;
  }
}

function shapeOf(value: Differentiable): readonly number[] {
  return "parts" in value ? [value.rows, value.columns] : value.shape;
}

/** Ends the hold of a node on its gradient: the result belongs to the scope at hand. */
function takeOver(device: Device, gradient: Tensor, shape: readonly number[]): Tensor {
  if (device.reclaim(gradient.buffer)) return new Tensor(device, shape, "f32", gradient.buffer);
  // Others still use the memory.
  const copy = empty(device, shape, "f32", "gradient");
  device.copy({ buffer: gradient.buffer }, { buffer: copy.buffer }, 4 * gradient.size);
  device.unhold(gradient.buffer);
  return copy;
}

/**
 * Runs a block without saving what is inside, and runs it again on the way back: memory for one more forward pass
 * (activation checkpointing). Weights that the block uses get their gradients as usual.
 *
 * @param inputs What the block computes from, besides weights.
 * @param body Pure: the same values for the same inputs, also the second time (dropout draws by seed). One or more results.
 */
export function checkpoint(
  inputs: readonly Tensor[],
  body: (...inputs: Tensor[]) => readonly Tensor[],
): readonly Tensor[] {
  const tape = active;
  if (tape === undefined) return body(...inputs);
  const outputs = withoutGradients(() => body(...inputs));
  // Whether the block uses trained weights is known only when it runs with the tape, so it is always noted.
  noteAlways(tape, {
    name: "checkpoint",
    inputs,
    outputs,
    saved: inputs,
    backward(gradients, wanted) {
      const outer = tape.noted;
      tape.noted = [];
      const copies = inputs.map((input, i) => {
        const copy = detach(input);
        if (wanted[i]) copy.node = { tape, gradient: undefined, own: false };
        return copy;
      });
      active = tape;
      try {
        const targets = body(...copies).map(nodeOf);
        active = undefined;
        targets.forEach((target, i) => {
          const gradient = gradients[i];
          if (target !== undefined && gradient !== undefined) arrive(target, gradient);
        });
        walk(tape);
      } finally {
        active = undefined;
        for (const step of tape.noted) forget(tape.device, step);
        tape.noted = outer;
      }
      return copies.map(({ node, shape }) => {
        const inner = node?.gradient;
        return inner && takeOver(tape.device, inner, shape);
      });
    },
  });
  return outputs;
}
