/**
 * What makes two runs the same: a checkpoint of one is never taken up by another.
 *
 * @module
 */
import type { CheckpointSource, Example } from "@medvlm/core";
import { createSHA256 } from "hash-wasm";

const encoder = new TextEncoder();
/** Digits kept of a hash: enough to tell runs apart. */
const digits = 32;

/** Names, shapes and the first row of every tensor: other weights have another one. */
export async function weightsFingerprint(tensors: CheckpointSource): Promise<string> {
  const hash = await createSHA256();
  for (const tensor of tensors.entries()) {
    const { name, dtype, shape } = tensor;
    hash.update(encoder.encode(JSON.stringify([name, dtype, shape])));
    if (shape.every((extent) => extent > 0)) {
      hash.update(shape.length === 0 ? await tensor.read() : await tensor.readRows(0, 1));
    }
  }
  return hash.digest("hex").slice(0, digits);
}

/** Names and words of all examples in their order. */
export async function examplesFingerprint(examples: readonly Example[]): Promise<string> {
  const hash = await createSHA256();
  for (const { id, image, task, prompt, answer, history = [] } of examples) {
    hash.update(encoder.encode(JSON.stringify([id, image, task, prompt, answer, history])));
  }
  return hash.digest("hex").slice(0, digits);
}
