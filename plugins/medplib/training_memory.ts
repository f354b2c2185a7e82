/**
 * Device memory of a stage of MedPLIB, on paper.
 *
 * @module
 */
import type { StageLoad } from "@medvlm/core";
import { samGrid } from "@medvlm/core/nn";
import { llamaActivationBytes, stageWeightBytes, type TrainingMemory } from "@medvlm/core/train";
import type { MedplibConfig } from "./config.ts";
import { imageRowCount } from "./icl.ts";
import { medplibParameters } from "./params.ts";
import type { MedplibStage } from "./stages.ts";

/** Values inside one block of a vision transformer, per token of width C: input, norms, projections, four-fold MLP. */
const blockValues = 16;

/** Values at the widest place of a tower: one block of all pictures, since nothing of a frozen tower is kept. */
function towerValues(batch: number, tokens: number, width: number, side: number): number {
  return batch * (3 * side * side + blockValues * tokens * width);
}

/** Values that the mask decoder keeps for the way back, per mask: two blocks over the grid, and the upscaling. */
function decoderValues({ sam, samDecoder: { width, depth, maskTokens } }: MedplibConfig): number {
  const cells = samGrid(sam) ** 2;
  // Per block and cell: keys with and without positions, projections of both directions, norm.
  const blocks = (depth + 1) * cells * 6 * width;
  // Twice transposed convolution: four times the cells at a quarter of the width, sixteen times at an eighth.
  const upscaling = cells * (4 * 3 * width / 4 + 16 * 3 * width / 8);
  return blocks + upscaling + 16 * cells * maskTokens;
}

/** Whether a stage has losses of masks. */
export function learnsMasks({ losses }: MedplibStage): boolean {
  return losses.bce + losses.dice + losses.iou + losses.focal > 0;
}

/** Bytes that a stage takes on a device: every sample has a mask where the stage learns masks. */
export function stageMemory(
  config: MedplibConfig,
  stage: MedplibStage,
  { dtype, batch, rows, recompute }: StageLoad,
): TrainingMemory {
  const { llama, clip, sam, moe } = config;
  const masks = learnsMasks(stage);
  const patches = (clip.imageSize / clip.patchSize) ** 2;
  const decoder = llamaActivationBytes(llama, {
    rows: batch * rows,
    targets: batch * Math.max(1, rows - imageRowCount(config)),
    recompute,
    inside: stage.experts ? moe.capacityFactor : 1,
  });
  // The towers come before the decoder and after it, and use memory that the other leaves.
  const towers = 4 * Math.max(
    towerValues(batch, patches + 1, clip.hiddenSize, clip.imageSize),
    masks ? towerValues(batch, samGrid(sam) ** 2, sam.width, sam.imageSize) : 0,
  );
  return {
    ...stageWeightBytes(medplibParameters(config), stage, dtype),
    activations: decoder.activations + (masks ? 4 * batch * decoderValues(config) : 0) +
      4 * batch * patches * llama.hiddenSize,
    working: Math.max(decoder.working, towers),
  };
}
