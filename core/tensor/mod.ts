/**
 * Tensors and the operations on them. Operations queue work and return at once; only `read` waits for the device.
 *
 * @module
 */
export type { Binary, Unary } from "../kernels/elementwise.ts";
export * from "./tensor.ts";
export {
  accumulate,
  checkpoint,
  detach,
  type Differentiable,
  differentiate,
  type Differentiated,
  isDifferentiated,
  note,
  type Step,
  withoutGradients,
} from "./tape.ts";
export * from "./elementwise.ts";
export * from "./weight.ts";
export * from "./linear.ts";
export * from "./lora.ts";
export * from "./matmul.ts";
export * from "./gather.ts";
export * from "./attention.ts";
export * from "./windows.ts";
export * from "./rope.ts";
export * from "./append.ts";
export * from "./movement.ts";
export * from "./norm.ts";
export * from "./softmax.ts";
export * from "./loss_tokens.ts";
export type { PixelLoss } from "../kernels/loss_pixels.ts";
export * from "./loss_masks.ts";
export * from "./loss_boxes.ts";
export * from "./instances.ts";
export * from "./loss_instances.ts";
export * from "./loss_sum.ts";
export * from "./matching.ts";
export * from "./mask_overlap.ts";
export * from "./constraint.ts";
export * from "./contrast.ts";
export * from "./random.ts";
export * from "./conv.ts";
export * from "./moe.ts";
export * from "./sampling.ts";
export * from "./region.ts";
export * from "./resample.ts";
