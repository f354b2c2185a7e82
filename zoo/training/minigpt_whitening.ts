/**
 * How the projection of the MiniGPT-v2 family begins behind a trained tower.
 *
 * @module
 */
import { type MinigptConfig, pictureFeatures, pictureStatistics } from "@medvlm/core/minigpt";
import type { Parameters } from "@medvlm/core/nn";
import { concat, tensor } from "@medvlm/core/tensor";
import { greySquare, normalisedSquares } from "./pictures.ts";
import { phantomPool, type PhantomSource } from "./pool.ts";
import { whitenLinear } from "./whitening.ts";

/** Pictures that are looked at, and those of a pass; joined patches are wide, and there should be far more of them than that. */
const looked = 512, atOnce = 64;

/** Makes the projection begin with whitened inputs, its outputs deviating like embedded tokens. */
export async function whitenMinigpt(
  parameters: Parameters,
  config: MinigptConfig,
  source: PhantomSource,
): Promise<void> {
  const { device } = parameters, { imageSize: side } = config.vision;
  const pool = phantomPool(source, ({ image }) => greySquare(image, side));
  const input = { side, statistics: pictureStatistics, scale: 1 / 255 };
  using _scope = device.scope();
  const parts = Array.from({ length: looked / atOnce }, (_, part) => {
    using scope = device.scope();
    const some = Array.from({ length: atOnce }, (_, n) => pool.at((part * atOnce + n) % pool.size));
    const pixels = tensor(device, normalisedSquares(some, input)).reshape(-1, 3, side, side);
    return scope.keep(pictureFeatures(parameters, pixels, config));
  });
  await whitenLinear(parameters, "llama_proj", await concat(parts, 0).readFloats(), 0.1);
}
