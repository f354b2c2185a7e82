/**
 * Quick measurement of a model while it is trained: does it predict every token of the right answer from those before it?
 * Then greedy generation gives that very answer. And how good are the masks of `<SEG>`?
 *
 * @module
 */
import { thresholdMask } from "./postprocess.ts";
import type { Mask } from "@medvlm/core";
import { type Parameters, sampleOf } from "@medvlm/core/nn";
import { argmax, crossEntropy, type Tensor, tensor } from "@medvlm/core/tensor";
import type { MedplibConfig } from "./config.ts";
import { evaluationRouting } from "./language.ts";
import type { TrainingBatch } from "./training_batch.ts";
import { batchMasks, decodeBatch } from "./training_loss.ts";

/** What became of a batch. */
export interface ForcedAnswers {
  /** For every sample, whether each token of its answer is the most probable one. Samples without targets are right. */
  readonly right: readonly boolean[];
  /** The mask of every `<SEG>`, in the order of the batch's masks. */
  readonly masks: readonly Mask[];
  /** Mean cross-entropy of the answers' tokens; NaN where none counts. */
  readonly loss: number;
}

/** Answers a batch with the right answers as context. Waits for the device. */
export async function forcedAnswers(
  p: Parameters,
  batch: TrainingBatch,
  config: MedplibConfig,
  positions: Tensor,
): Promise<ForcedAnswers> {
  const { device } = p;
  let choosing: Promise<ArrayLike<number>>, summing: Promise<ArrayLike<number>>;
  let decoding: { members: readonly number[]; logits: Promise<Float32Array> }[] = [];
  {
    using _scope = device.scope();
    const routing = evaluationRouting(config, device, 0);
    const { hidden, logits } = decodeBatch(p, batch, config, { routing });
    choosing = argmax(logits).read();
    summing = batch.targets.length === 0
      ? Promise.resolve([NaN])
      : crossEntropy(logits, tensor(device, batch.targets)).readFloats();
    if (batch.masks.length > 0) {
      decoding = batchMasks(p, hidden, batch, config, positions)
        .map(({ members, logits }) => ({ members, logits: logits.readFloats() }));
    }
  }
  const chosen = await choosing;
  const right = Array.from({ length: batch.size }, () => true);
  batch.targetRows.forEach((row, i) => {
    if (chosen[i] !== batch.targets[i]) right[sampleOf(batch, row)] = false;
  });
  const masks: Mask[] = [];
  for (const { members, logits } of decoding) {
    const values = await logits;
    const count = values.length / members.length;
    members.forEach((n, i) => {
      const own = values.subarray(i * count, (i + 1) * count);
      masks[n] = thresholdMask(own, batch.masks[n]!.mask, config.maskThreshold);
    });
  }
  return { right, masks, loss: (await summing)[0]! };
}
