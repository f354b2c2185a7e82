/**
 * How small LLaMA decoders are initialised for training from nothing.
 *
 * @module
 */
import type { LlamaConfig, Parameters, ParameterSpec } from "@medvlm/core/nn";

/**
 * The same tensors, the decoder's initialised for its width. LLaMA's standard deviation of 0.02 is about 1 / sqrt(width) at
 * 4096; at 128 attention would stay uniform, and what a layer adds to the residual stream small, for long.
 */
export function initialisedForWidth(specs: readonly ParameterSpec[]): ParameterSpec[] {
  return specs.map((spec) => {
    const { name, shape } = spec;
    if (/^model\.layers\..*_proj\.weight$/.test(name)) {
      return { ...spec, init: { kind: "normal", std: 1 / Math.sqrt(shape[1]!) } };
    }
    if (name === "model.embed_tokens.weight") {
      return { ...spec, init: { kind: "normal", std: 0.1 } };
    }
    return spec;
  });
}

/**
 * Keys begin as the queries do, so that every head begins by attending to what is like what it asks for: where rows of a picture
 * hold words, a question's words find them from the first step on. Only where there are as many heads of keys as of queries.
 */
export async function tieKeysToQueries(
  parameters: Parameters,
  { layers, heads, keyHeads }: Pick<LlamaConfig, "layers" | "heads" | "keyHeads">,
): Promise<void> {
  if (heads !== keyHeads) return;
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}.self_attn.`;
    const queries = await parameters.weight(`${at}q_proj.weight`).readFloats();
    parameters.weight(`${at}k_proj.weight`).write(queries);
  }
}
