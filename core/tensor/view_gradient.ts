/**
 * Gradients of tensors of which an operation reads a part.
 *
 * @module
 */
import { fill } from "./movement.ts";
import { empty, type Tensor } from "./tensor.ts";

/**
 * Memory for the gradient of a tensor: zeros where the operation has not read it, undefined content if it has read all.
 *
 * @param covered Elements that will be written.
 */
export function emptyGradient(of: Tensor, covered: number): Tensor {
  return covered === of.size
    ? empty(of.device, of.shape, "f32", "gradient")
    : fill(of.device, of.shape, 0);
}
