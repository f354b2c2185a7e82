/**
 * How a model answers under forcing, each token after the true ones before it.
 *
 * @module
 */
import { sampleOf } from "../nn/shared_layout.ts";
import type { Parameters } from "../nn/parameters.ts";
import type { Measured } from "../plugin.ts";
import { argmax, crossEntropy, tensor } from "../tensor/mod.ts";
import type { MinigptConfig } from "./config.ts";
import type { MinigptBatch } from "./training_batch.ts";
import { batchPictures, decodeBatch, embedBatch, targetLogits } from "./training_loss.ts";

/** Cross-entropy of the answers' tokens, and how many samples have all of them right. */
export async function measureAnswers(
  p: Parameters,
  batch: MinigptBatch,
  config: MinigptConfig,
): Promise<Record<string, Measured>> {
  const { device } = p;
  let choosing: Promise<ArrayLike<number>>, summing: Promise<Float32Array>;
  {
    using _scope = device.scope();
    const embedded = embedBatch(p, batch, batchPictures(p, batch, config));
    const logits = targetLogits(p, decodeBatch(p, embedded, batch, config), batch);
    choosing = argmax(logits).read();
    summing = crossEntropy(logits, tensor(device, batch.targets)).readFloats();
  }
  const chosen = await choosing, count = batch.targets.length;
  const right = Array.from({ length: batch.size }, () => true);
  batch.targetRows.forEach((row, i) => {
    if (chosen[i] !== batch.targets[i]) right[sampleOf(batch, row)] = false;
  });
  return {
    "answer_loss": { sum: (await summing)[0]! * count, count },
    "answers_right": { sum: right.filter((one) => one).length, count: right.length },
  };
}
