/**
 * How MedPLIB's projector and region adapter begin behind a trained tower.
 *
 * @module
 */
import { linearLayer, type Parameters } from "@medvlm/core/nn";
import { tensor } from "@medvlm/core/tensor";
import { CLIP_STATISTICS, clipFeatures, type MedplibConfig, names } from "@medvlm/medplib/parts";
import { greySquare, normalisedSquares } from "./pictures.ts";
import { phantomPool, type PhantomSource } from "./pool.ts";
import { whitenLinear } from "./whitening.ts";

/** Deviation of the rows' elements: that of embedded tokens. */
const rowDeviation = 0.1;

/** Pictures that are looked at. */
const looked = 256;

/** Makes the layers between vision tower and language model begin with whitened inputs. */
export async function whitenMedplib(
  parameters: Parameters,
  config: MedplibConfig,
  source: PhantomSource,
): Promise<void> {
  const { device } = parameters, { imageSize: side } = config.clip;
  const pool = phantomPool(source, ({ image }) => greySquare(image, side));
  const pictures = Array.from({ length: Math.min(looked, pool.size) }, (_, n) => pool.at(n));
  const input = { side, statistics: CLIP_STATISTICS, scale: 1 / 255 };
  using _scope = device.scope();
  const pixels = tensor(device, normalisedSquares(pictures, input)).reshape(-1, 3, side, side);
  const features = clipFeatures(parameters, pixels, config).reshape(-1, config.clip.hiddenSize);
  const read = await features.readFloats();
  await whitenLinear(parameters, `${names.projector}0`, read, 1);
  const inner = linearLayer(parameters.at(names.projector), "0", features, { activation: "gelu" });
  await whitenLinear(parameters, `${names.projector}2`, await inner.readFloats(), rowDeviation);
  await whitenLinear(parameters, "model.region_fea_adapter", read, rowDeviation);
}
