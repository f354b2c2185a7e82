/**
 * How small LLaMA decoders are initialised for training from nothing.
 *
 * @module
 */
import type { ParameterSpec } from "@medvlm/core/nn";

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
