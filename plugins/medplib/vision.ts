/**
 * What the language model sees: CLIP features, projected, and the feature of a region.
 *
 * @module
 */
import { clipVision, linearLayer, type Parameters, type Trace } from "@medvlm/core/nn";
import { sampleGridMean, slice, type Tensor, tensor } from "@medvlm/core/tensor";
import type { MedplibConfig } from "./config.ts";
import { names } from "./params.ts";

/**
 * Patch features of CLIP's hidden state `visionLayer`, without the class token: [B * patches, clip width].
 *
 * @param pixels Normalised images [B, 3, S, S].
 * @param prefix Of the tower's names: that of a release, or `vision_model.` in a CLIP checkpoint of its own.
 */
export function clipFeatures(
  p: Parameters,
  pixels: Tensor,
  config: MedplibConfig,
  trace?: Trace,
  prefix: string = names.clip,
): Tensor {
  using scope = pixels.device.scope();
  const { clip, visionLayer } = config;
  // hidden_states has one entry more than there are blocks; -1 is the last.
  const layers = visionLayer < 0 ? clip.layers + 1 + visionLayer : visionLayer;
  const hidden = clipVision(p.at(prefix), pixels, clip, layers, trace);
  const patches = slice(hidden, 1, 1, hidden.shape[1]! - 1);
  return scope.keep(patches).reshape(-1, clip.hiddenSize);
}

/** `mm_projector`: Linear, exact GELU, Linear; [n, clip width] to [n, hidden]. */
export function projectFeatures(p: Parameters, features: Tensor): Tensor {
  using scope = features.device.scope();
  const part = p.at(names.projector);
  const inner = linearLayer(part, "0", features, { activation: "gelu" });
  return scope.keep(linearLayer(part, "2", inner));
}

/**
 * Where the cells of a region are sampled, (row, column) one after the other: a cell (r, c) is normalised as (r / n, c / n)
 * and sampled with aligned corners, that is at r (n - 1) / n.
 */
export function regionPoints(
  cells: readonly (readonly [number, number])[],
  side: number,
): Float32Array<ArrayBuffer> {
  return Float32Array.from(cells.flat(), (index) => Math.fround(index / side) * (side - 1));
}

/**
 * The region's one token: `region_fea_adapter` on every patch, sampled at the region's grid cells and averaged
 * (`extract_region_feature`). [1, hidden].
 *
 * @param features CLIP features of one image [n * n, clip width].
 * @param cells Row and column of every cell of the region, at most `maxRegionPoints`.
 */
export function regionFeature(
  p: Parameters,
  features: Tensor,
  cells: readonly (readonly [number, number])[],
  side: number,
): Tensor {
  const { device } = features;
  const points = tensor(device, regionPoints(cells, side), [cells.length, 2]);
  using scope = device.scope();
  const adapted = linearLayer(p.at("model."), "region_fea_adapter", features);
  const mean = scope.keep(sampleGridMean(adapted, [side, side], points, cells.length));
  points.dispose();
  return mean.reshape(1, -1);
}
