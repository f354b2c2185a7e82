/**
 * Contrast of two kinds of embeddings that belong together in pairs: directions, a learned temperature, and the symmetric
 * cross-entropy.
 *
 * @module
 */
import { temperatureGradientProgram, temperatureProgram } from "../kernels/temperature.ts";
import { add, multiply, scale } from "./elementwise.ts";
import { crossEntropy } from "./loss_tokens.ts";
import { matmul } from "./matmul.ts";
import { permute } from "./movement.ts";
import { rmsNorm } from "./norm.ts";
import { note } from "./tape.ts";
import { empty, shapeText, type Tensor, tensor } from "./tensor.ts";

/** Smallest norm that is divided by, as in `torch.nn.functional.normalize`. */
const leastNorm = 1e-12;

/**
 * Rows of length 1: x / sqrt(sum(x^2) + 1e-24) over the last axis. A row of zeros stays one.
 *
 * @param x f32 [..., C].
 * @returns Shape of `x`.
 * @throws {RangeError} for other dtypes or no axes.
 */
export function unitRows(x: Tensor): Tensor {
  const columns = x.shape.at(-1) ?? 1;
  // The mean of the squares is their sum over C.
  return scale(rmsNorm(x, undefined, leastNorm ** 2 / columns), 1 / Math.sqrt(columns));
}

/**
 * exp(min(x, ln most)): a factor that is learned as its logarithm and never exceeds `most`. No gradient flows where the
 * limit acts.
 *
 * @param x f32 of any shape.
 * @param most Above 0.
 * @returns Shape of `x`.
 * @throws {RangeError} for other dtypes, or when `most` is not above 0.
 */
export function limitedExp(x: Tensor, most: number): Tensor {
  if (x.dtype !== "f32" || !(most > 0)) {
    throw new RangeError(
      `Cannot take the exponential of ${x.dtype} ${
        shapeText(x.shape)
      } up to ${most}: expected f32 and a positive limit`,
    );
  }
  const { device } = x;
  const y = empty(device, x.shape, "f32", "factor");
  const parameters = { count: x.size, most: Math.log(most) };
  const groups = [Math.ceil(x.size / 64)] as const;
  device.dispatch(
    temperatureProgram(),
    { input: x.range, output: y.range },
    parameters,
    groups,
  );
  note({
    name: "limitedExp",
    inputs: [x],
    outputs: [y],
    saved: [x],
    backward([gradient]) {
      const result = empty(device, x.shape, "f32", "factor gradient");
      device.dispatch(
        temperatureGradientProgram(),
        { input: x.range, gradient: gradient!.range, output: result.range },
        parameters,
        groups,
      );
      return [result];
    },
  });
  return y;
}

/**
 * Similarity of every left row with every right one: the cosine of their angle times a factor.
 *
 * @param left f32 [B, C].
 * @param right f32 [N, C].
 * @param factor f32, one value.
 * @returns f32 [B, N].
 * @throws {RangeError} when the shapes do not fit.
 */
export function similarities(left: Tensor, right: Tensor, factor: Tensor): Tensor {
  if (
    left.shape.length !== 2 || right.shape.length !== 2 || left.shape[1] !== right.shape[1] ||
    factor.size !== 1
  ) {
    throw new RangeError(
      `Cannot compare ${shapeText(left.shape)} with ${
        shapeText(right.shape)
      } by a factor of shape ${shapeText(factor.shape)}: expected [B, C], [N, C] and one value`,
    );
  }
  const cosines = matmul(unitRows(left), unitRows(right), { transposeB: true });
  return multiply(cosines.reshape(-1, 1), factor.reshape(1)).reshape(...cosines.shape);
}

/**
 * Symmetric cross-entropy of a square matrix of similarities whose pairs lie on the diagonal: the mean of choosing the right
 * column in every row and the right row in every column (CLIP, figure 3).
 *
 * @param logits f32 [B, B].
 * @returns f32 [1]; ln B when nothing is known.
 * @throws {RangeError} for other shapes.
 */
export function pairLoss(logits: Tensor): Tensor {
  const [rows, columns] = logits.shape;
  if (logits.shape.length !== 2 || rows !== columns || rows === 0) {
    throw new RangeError(
      `Cannot contrast pairs by similarities ${shapeText(logits.shape)}: expected [B, B]`,
    );
  }
  const own = tensor(logits.device, Int32Array.from({ length: rows! }, (_, i) => i));
  return scale(add(crossEntropy(logits, own), crossEntropy(permute(logits, [1, 0]), own)), 0.5);
}
