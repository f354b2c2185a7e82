/**
 * Softmax of tensors.
 *
 * @module
 */
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import { softmaxProgram } from "../kernels/softmax.ts";
import { softmaxGradientProgram } from "../kernels/softmax_gradient.ts";
import { note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/**
 * Softmax over the last axis of `scale * x`.
 *
 * Mask with large negative finite numbers; a row masked throughout becomes uniform.
 *
 * @param x f32 [..., C].
 * @param options.scale Factor on `x`, such as 1 / sqrt(head size) or 1 / temperature. Default 1.
 * @returns Shape of `x`, rows sum to 1.
 * @throws {RangeError} for other dtypes, no axes or a scale that is not finite.
 */
export function softmax(x: Tensor, { scale = 1 }: { scale?: number } = {}): Tensor {
  const columns = x.shape.at(-1);
  if (columns === undefined || x.dtype !== "f32" || !Number.isFinite(scale)) {
    throw new RangeError(
      `Cannot softmax a ${x.dtype} tensor of shape ${
        shapeText(x.shape)
      } scaled by ${scale}: expected f32 [..., C] and a finite scale`,
    );
  }
  const { device } = x;
  const y = empty(device, x.shape, "f32", "softmax");
  if (x.size === 0) return y;
  const rows = x.size / columns, width = columns % 4 === 0 ? 4 : 1;
  const team = rowTeam(device.capabilities, columns / width);
  device.dispatch(
    softmaxProgram(team, width),
    { input: x.range, output: y.range },
    { rows, columns, scale },
    [teamGroups(team, rows)],
    { flops: 6 * x.size, bytes: 8 * x.size },
  );
  note({
    name: "softmax",
    inputs: [x],
    outputs: [y],
    saved: [y],
    backward: ([gradient]) => [softmaxGradient(y, gradient!, scale)],
  });
  return y;
}

function softmaxGradient(y: Tensor, gradient: Tensor, scale: number): Tensor {
  const output = empty(y.device, y.shape, "f32", "softmax gradient");
  const columns = y.shape.at(-1)!;
  const rows = y.size / columns, width = columns % 4 === 0 ? 4 : 1;
  const team = rowTeam(y.device.capabilities, columns / width);
  y.device.dispatch(
    softmaxGradientProgram(team, width),
    { result: y.range, gradient: gradient.range, output: output.range },
    { rows, columns, scale },
    [teamGroups(team, rows)],
    { flops: 5 * y.size, bytes: 20 * y.size },
  );
  return output;
}
