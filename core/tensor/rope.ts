/**
 * Rotary positions on tensors.
 *
 * @module
 */
import { ropeAppendProgram, ropeProgram } from "../kernels/rope.ts";
import { type HeadsView, type LocatedHeads, locateHeads, rowSpans } from "./heads.ts";
import { isDifferentiated, note } from "./tape.ts";
import { emptyGradient } from "./view_gradient.ts";
import { empty, shapeText, Tensor } from "./tensor.ts";

/** How to rotate. */
export interface RopeOptions {
  /** Elements per head, even. */
  readonly headSize: number;
  /** Base of the frequencies. Default 10000. */
  readonly theta?: number;
  /** Heads per token; needed for views of fused projections, otherwise the last axis tells. */
  readonly heads?: number;
}

function view(x: Tensor | HeadsView): HeadsView {
  return x instanceof Tensor ? { tensor: x } : x;
}

function checkHeads(operation: string, width: number, headSize: number, positions: Tensor): void {
  if (
    !(headSize >= 2) || headSize % 2 !== 0 || headSize > 512 || width % headSize !== 0 ||
    positions.dtype === "f32"
  ) {
    throw new RangeError(
      `Cannot ${operation} ${width} columns by heads of ${headSize} at ${positions.dtype} ${
        shapeText(positions.shape)
      }: expected an even head size that divides the columns and integer positions`,
    );
  }
}

function queueRotation(
  input: LocatedHeads,
  output: LocatedHeads,
  positions: Tensor,
  { headSize, theta = 10000 }: RopeOptions,
  heads: number,
  direction: 1 | -1,
): void {
  const tokens = positions.size, angles = tokens * headSize / 2, pairs = heads * angles;
  positions.device.dispatch(
    ropeProgram(headSize, theta),
    { input: input.range, positions: positions.range, output: output.range },
    {
      tokens,
      heads,
      offset: input.offset,
      stride: input.stride,
      outputOffset: output.offset,
      outputStride: output.stride,
      direction,
    },
    [Math.ceil(angles / 64)],
    { flops: 30 * angles + 6 * pairs, bytes: 16 * pairs },
  );
}

/**
 * Rotates dimension i of every head with dimension i + headSize / 2 by position * theta^(-2 i / headSize).
 *
 * @param x [tokens, heads * headSize], or a view of a fused projection together with `heads`.
 * @param positions u32 or i32 [tokens], not negative.
 * @returns [tokens, heads * headSize].
 * @throws {RangeError} when the shapes do not fit.
 */
export function rope(x: Tensor | HeadsView, positions: Tensor, options: RopeOptions): Tensor {
  const { headSize } = options;
  const { tensor } = view(x);
  const width = options.heads === undefined ? tensor.shape.at(-1) ?? 0 : options.heads * headSize;
  checkHeads("rotate", width, headSize, positions);
  const tokens = positions.size;
  if (x instanceof Tensor && x.size !== tokens * width) {
    throw new RangeError(
      `Cannot rotate ${shapeText(x.shape)} at ${tokens} positions: expected [${tokens}, ${width}]`,
    );
  }
  const input = locateHeads("rotate: x", view(x), tokens, width);
  const output = empty(tensor.device, [tokens, width], "f32", "rope");
  const heads = width / headSize;
  const whole: LocatedHeads = { range: output.range, offset: 0, stride: width };
  queueRotation(input, whole, positions, options, heads, 1);
  note({
    name: "rope",
    inputs: [tensor],
    outputs: [output],
    saved: [positions],
    backward([gradient]) {
      const target = emptyGradient(tensor, tokens * width);
      // The view's place in the gradient is its place in the tensor.
      const place = { ...input, range: { ...input.range, buffer: target.buffer } };
      const turned = { ...whole, range: gradient!.range };
      queueRotation(turned, place, positions, options, heads, -1);
      return [target];
    },
  });
  return output;
}

/**
 * Rotates keys and writes them and their values into the rows `positions[t]` of the caches, in one dispatch. Positions
 * beyond the capacity are dropped.
 *
 * @param k [tokens, keyHeads * headSize], or a view of a fused projection.
 * @param v [tokens, columns of cacheValues], or a view.
 * @param cacheKeys [capacity, keyHeads * headSize], changed in place.
 * @param cacheValues [capacity, any], changed in place.
 * @param positions u32 or i32 [tokens], not negative, no two alike.
 * @throws {RangeError} when the shapes do not fit.
 * @throws {TypeError} when differentiated: caches are for inference.
 */
export function ropeAppend(
  k: Tensor | HeadsView,
  v: Tensor | HeadsView,
  cacheKeys: Tensor,
  cacheValues: Tensor,
  positions: Tensor,
  options: RopeOptions,
): void {
  const { headSize, theta = 10000 } = options;
  const [capacity = 0, keyWidth = 0] = cacheKeys.shape;
  const [valueCapacity, valueWidth = 0] = cacheValues.shape;
  if (
    cacheKeys.shape.length !== 2 || cacheValues.shape.length !== 2 || capacity !== valueCapacity ||
    cacheKeys.dtype !== "f32" || cacheValues.dtype !== "f32"
  ) {
    throw new RangeError(
      `Cannot append to caches ${shapeText(cacheKeys.shape)} and ${
        shapeText(cacheValues.shape)
      }: expected two f32 tables of the same capacity`,
    );
  }
  checkHeads("rotate and append", keyWidth, headSize, positions);
  if (isDifferentiated(view(k).tensor, view(v).tensor, cacheKeys, cacheValues)) {
    throw new TypeError("Cannot differentiate ropeAppend, which changes caches in place");
  }
  const tokens = positions.size;
  const key = locateHeads("append: k", view(k), tokens, keyWidth);
  const value = locateHeads("append: v", view(v), tokens, valueWidth);
  const { device } = cacheKeys;
  const widest = Math.max(keyWidth, valueWidth);
  const valueSpans = rowSpans(cacheValues, widest);
  rowSpans(cacheKeys, widest).forEach(({ firstRow, rows, range }, index) =>
    device.dispatch(
      ropeAppendProgram(headSize, theta),
      {
        key: key.range,
        value: value.range,
        positions: positions.range,
        cacheKeys: range,
        cacheValues: valueSpans[index]!.range,
      },
      {
        tokens,
        keyOffset: key.offset,
        keyStride: key.stride,
        keyWidth,
        valueOffset: value.offset,
        valueStride: value.stride,
        valueWidth,
        firstRow,
        rows,
      },
      [Math.ceil(tokens * Math.ceil(Math.max(keyWidth, valueWidth) / 2) / 64)],
      { flops: 15 * tokens * keyWidth, bytes: 8 * tokens * (keyWidth + valueWidth) },
    )
  );
}
