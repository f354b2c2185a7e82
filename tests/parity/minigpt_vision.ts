/**
 * Reference case of the EVA tower: positions, every block, the norm behind it, joined patches.
 *
 * @module
 */
import { openCheckpoint } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import {
  ignoredNames,
  joinParts,
  type MinigptConfig,
  names,
  paper,
  pictureFeatures,
  projectorParameters,
} from "@medvlm/core/minigpt";
import { evaVitParameters, loadParameters, normLayer, TraceCollector } from "@medvlm/core/nn";
import { tensor, unary } from "@medvlm/core/tensor";
import { openCase } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";
import { compare, compareTrace } from "./medplib_parts.ts";

/** `minigpt-v2/vit`. */
export async function runEvaVit(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const { config } = files;
  const sizes: MinigptConfig = {
    ...paper,
    vision: {
      hiddenSize: config.embed_dim,
      intermediateSize: config.mlp_hidden,
      layers: config.depth,
      heads: config.num_heads,
      imageSize: config.image_size,
      patchSize: config.patch_size,
      storedGrid: config.checkpoint_grid,
      epsilon: config.norm_eps,
    },
    visionEpsilon: config.ln_vision_eps,
  };
  using vision = await openCheckpoint(`${dir}/eva_vit_g.pth`);
  using trained = await openCheckpoint(`${dir}/checkpoint.pth`, { key: "model" });
  const source = joinParts(dir, { language: vision, vision, trained });
  const specs = [
    ...evaVitParameters(sizes.vision, names.vision, "F16"),
    ...projectorParameters(sizes).filter(({ name }) => name.startsWith("ln_vision")),
  ];
  const p = await loadParameters(device, specs, source, {
    ignore: [...ignoredNames, /^(?!visual_encoder|ln_vision)/],
  });
  const collected = new TraceCollector();
  const { atol, rtol } = files.case.tolerance as Required<Tolerance>;
  const tolerance = { atol, rtol };
  using _scope = device.scope();
  const { shape, values } = await files.inputs.get("images");
  const pixels = tensor(device, Float32Array.from(values), shape);
  pictureFeatures(p, pixels, sizes, collected.trace);
  const stretched = "pos_embed_interpolated";
  await compareTrace(
    report,
    files,
    collected,
    tolerance,
    (name) => name === stretched ? "" : name,
  );
  report.close(
    stretched,
    (await collected.values(stretched))!,
    (await files.expected.get(stretched)).values,
    files.case.tolerance[stretched],
  );
  const probe = await files.inputs.get("norm_probe");
  const rows = tensor(device, Float32Array.from(probe.values), probe.shape);
  const { norm_probe: ofNorm, gelu_probe: ofGelu } = files.case.tolerance;
  const block = p.at(`${names.vision}blocks.0.`);
  await compare(
    report,
    files,
    "norm_probe.block.0.norm1",
    normLayer(block, "norm1", rows, sizes.vision.epsilon),
    ofNorm,
  );
  await compare(
    report,
    files,
    "norm_probe.ln_vision",
    normLayer(p.at(""), "ln_vision", rows, sizes.visionEpsilon),
    ofNorm,
  );
  const points = await files.inputs.floats("gelu_probe");
  const gelu = unary("gelu", tensor(device, points));
  await compare(report, files, "gelu_probe", gelu, { atol: ofGelu.atol });
  p.dispose();
}
