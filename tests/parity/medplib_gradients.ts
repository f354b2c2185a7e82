/**
 * The gradients in the reference cases of MedPLIB's parts: mask decoder and region sampler.
 *
 * @module
 */
import type { Parameters } from "@medvlm/core/nn";
import {
  add,
  crop2d,
  type Differentiable,
  differentiate,
  multiply,
  resizeBilinear,
  scale,
  slice,
  sumRows,
  type Tensor,
  tensor,
} from "@medvlm/core/tensor";
import {
  decodeMasks,
  maskCrop,
  type MedplibConfig,
  regionFeature,
  singleMask,
} from "@medvlm/medplib/parts";
import type { CaseFiles } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";

/** Compares a value and the gradients of its leaves; one that the value does not depend on counts as zeros. */
async function compareGradients(
  report: Report,
  files: CaseFiles,
  tolerance: Tolerance,
  leaves: ReadonlyMap<string, Differentiable>,
  body: () => Tensor,
): Promise<void> {
  const device = [...leaves.values()][0]!.device;
  const { value, gradients } = differentiate(device, [...leaves.values()], body);
  if (files.expected.has("scalar")) {
    const { values } = await files.expected.get("scalar");
    report.close("scalar", await value.readFloats(), values, tolerance);
  }
  for (const [i, name] of [...leaves.keys()].entries()) {
    const { values } = await files.expected.get(name);
    const actual = await gradients[i]?.readFloats() ?? new Float32Array(values.length);
    report.close(name, actual, values, tolerance);
    gradients[i]?.dispose();
  }
  value.dispose();
}

/** Sum of all elements, [1]. */
function total(x: Tensor): Tensor {
  return sumRows(x.reshape(-1, 1));
}

/**
 * `grad.*` of `medplib/sam-mask-decoder`: sum over the images of the means of their masks, resized and weighted by sines, and a
 * tenth of their IoU. All images go through the decoder at once.
 */
export async function compareDecoderGradients(
  report: Report,
  files: CaseFiles,
  p: Parameters,
  config: MedplibConfig,
  { images, positions, texts }: { images: Tensor; positions: Tensor; texts: Tensor },
): Promise<void> {
  const { device } = p;
  const leaves = new Map<string, Differentiable>([["grad.text_embeds", texts]]);
  for (const { name } of p.specs) {
    if (files.expected.has(`grad.${name}`)) leaves.set(`grad.${name}`, p.value(name));
  }
  const listed = files.expected.names().filter((name) => name.startsWith("grad."));
  report.exact("gradients", [...leaves.keys()].sort(), listed.sort());
  await compareGradients(report, files, files.case.tolerance, leaves, () => {
    const masks = decodeMasks(p.at(""), images, positions, texts, config);
    const low = singleMask(masks);
    let sum = scale(total(slice(masks.iou, 1, 0, 1)), 0.1);
    for (const { input_size: resized, original_size: [height, width] } of files.case.posts) {
      const side = config.sam.imageSize;
      const [top, bottom] = maskCrop(low.shape[2]!, resized[0], side);
      const [left, right] = maskCrop(low.shape[3]!, resized[1], side);
      const cropped = crop2d(low, top, left, bottom - top, right - left);
      const logits = resizeBilinear(cropped, height, width).reshape(-1, height * width);
      const sines = Float32Array.from({ length: height * width }, (_, i) => Math.sin(0.37 * i));
      sum = add(sum, scale(total(multiply(logits, tensor(device, sines))), 1 / sines.length));
    }
    return sum;
  });
}

/** `k.grad.*` of `medplib/region-sampler`: of the region feature weighted by cosines. */
export async function compareRegionGradients(
  report: Report,
  files: CaseFiles,
  tolerance: Tolerance,
  p: Parameters,
  features: Tensor,
  { k, cells, side }: {
    readonly k: number;
    readonly cells: readonly (readonly [number, number])[];
    readonly side: number;
  },
): Promise<void> {
  const leaves = new Map<string, Differentiable>();
  for (const part of ["weight", "bias"]) {
    leaves.set(`${k}.grad.${part}`, p.value(`model.region_fea_adapter.${part}`));
  }
  await compareGradients(report, files, tolerance, leaves, () => {
    const feature = regionFeature(p, features, cells, side).reshape(-1);
    const cosines = Float32Array.from({ length: feature.size }, (_, i) => Math.cos(i));
    return total(multiply(feature, tensor(p.device, cosines)));
  });
}
