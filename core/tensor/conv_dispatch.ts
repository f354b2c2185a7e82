/**
 * Dispatch of convolutions: what they and their gradients have in common.
 *
 * @module
 */
import type { Capabilities, Program } from "../device/mod.ts";
import {
  type ConvParameters,
  convProgram,
  type ConvSpec,
  type ConvTiling,
} from "../kernels/conv.ts";
import { convTileProgram } from "../kernels/conv_tile.ts";
import type { Tensor } from "./tensor.ts";

/**
 * Queues a convolution or a transposed one, with the kernel and the tiling that suit the device.
 *
 * @param sizes Channel counts are per group.
 */
export function dispatchConv(
  spec: ConvSpec,
  { x, weight, bias, y }: { x: Tensor; weight: Tensor; bias: Tensor | undefined; y: Tensor },
  sizes: Omit<ConvParameters, "gridHeight" | "gridWidth" | "blocks">,
): void {
  const { transposed, kh, kw, stride } = spec;
  const { batch, groups, inChannels, outChannels, outHeight, outWidth } = sizes;
  const { capabilities } = x.device;
  const phases = transposed ? stride * stride : 1;
  const gridHeight = transposed ? Math.ceil(outHeight / stride) : outHeight;
  const gridWidth = transposed ? Math.ceil(outWidth / stride) : outWidth;
  const planes = batch * phases;
  const launch = (program: Program, tiles: number, rows: number): void => {
    const blocks = Math.ceil(outChannels / rows);
    x.device.dispatch(
      program,
      { input: x.range, weight: weight.range, bias: (bias ?? weight).range, output: y.range },
      { ...sizes, gridHeight, gridWidth, blocks },
      [tiles, groups * blocks, planes],
      {
        flops: 2 * y.size * inChannels * kh * kw / phases,
        bytes: 4 * (x.size + weight.size + y.size),
      },
    );
  };
  if (!capabilities.software && outChannels >= 16) {
    const pixels = gridHeight * gridWidth;
    const large = Math.ceil(pixels / 64) * Math.ceil(outChannels / 64) * groups * planes;
    const side = large >= busyTiles ? 64 : 32;
    launch(convTileProgram(spec, side), Math.ceil(pixels / side), side);
  } else {
    const tiling = registerTiling(capabilities, outChannels, gridWidth);
    const tiles = gridHeight * Math.ceil(gridWidth / tiling.pixels);
    launch(convProgram(spec, tiling), Math.ceil(tiles / tiling.lanes), tiling.rows);
  }
}

/** Large tiles that occupy a large GPU; with fewer, smaller tiles spread the work better. */
const busyTiles = 256;

/** Register tiles as large as the shape allows; on software adapters with subgroups of one size weights are broadcast. */
function registerTiling(
  { software, subgroups, subgroupSizes: [smallest, largest] }: Capabilities,
  outChannels: number,
  gridWidth: number,
): ConvTiling {
  const most = software ? 8 : 4;
  const pixels = gridWidth > 4 ? most : gridWidth > 2 ? 4 : 2;
  const rows = outChannels > 8 ? 16 : outChannels > 4 ? 8 : outChannels > 1 ? 4 : 1;
  if (!software) return { lanes: 64, rows: Math.min(rows, 8), pixels, broadcast: false };
  const broadcast = subgroups && smallest === largest && 16 % smallest === 0 &&
    outChannels >= smallest;
  return broadcast
    ? { lanes: smallest, rows: Math.max(smallest, rows), pixels, broadcast }
    : { lanes: 8, rows, pixels, broadcast };
}
