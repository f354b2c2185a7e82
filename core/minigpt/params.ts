/**
 * Every tensor of the MiniGPT-v2 family. LLaMA has the names of its own directory, the vision tower those of `eva_vit_g.pth` behind
 * `visual_encoder.`, everything else those of the official trained checkpoint.
 *
 * @module
 */
import { loraConfig } from "../checkpoint/mod.ts";
import { Adapter, type AdapterModule } from "../nn/adapter.ts";
import { AdapterSet } from "../nn/adapters.ts";
import { evaVitParameters } from "../nn/eva_vit.ts";
import { denseFeedForwardParameters, llamaHeadSize, llamaParameters } from "../nn/llama.ts";
import type { Parameters, ParameterSpec } from "../nn/parameters.ts";
import { specMaker } from "../nn/specs.ts";
import type { MinigptConfig } from "./config.ts";

/** Prefixes of the parts. */
export const names = {
  /** The vision tower. */
  vision: "visual_encoder.",
  /** Everything that peft has wrapped in the trained checkpoint. */
  adapted: "llama_model.base_model.model.",
} as const;

/** Tensors of released files that nobody needs: blocks beyond those that are used, classifier heads and the like. */
export const ignoredNames: readonly RegExp[] = [/^visual_encoder\./];

/** Modules of the language model that have adapters, such as `model.layers.0.self_attn.q_proj`. */
export function adaptedModules({ llama, adapters }: MinigptConfig): string[] {
  return Array.from(
    { length: llama.layers },
    (_, n) => adapters.targets.map((target) => `model.layers.${n}.self_attn.${target}`),
  ).flat();
}

/** Names of the two factors of a module's adapter, as peft 0.2 writes them. */
export function factorNames(module: string): { a: string; b: string } {
  const at = `${names.adapted}${module}.lora_`;
  return { a: `${at}A.weight`, b: `${at}B.weight` };
}

function rotaryFrequencies({ llama, stored }: MinigptConfig): ParameterSpec[] {
  const size = llamaHeadSize(llama);
  return Array.from({ length: llama.layers }, (_, n) => ({
    name: `model.layers.${n}.self_attn.rotary_emb.inv_freq`,
    shape: [size / 2],
    keep: "tensor",
    stored: stored.language === "F64" ? "F64" : "F32",
    init: {
      kind: "computed",
      value: (i: number) => 1 / Math.fround(Math.pow(llama.theta, Math.fround(2 * i / size))),
    },
    derived: true,
  }));
}

/** The factors of all adapters: A Kaiming uniform (a = sqrt 5), B zero. */
export function adapterParameters(config: MinigptConfig): ParameterSpec[] {
  const { llama, adapters: { rank } } = config;
  const rows = (module: string) =>
    /\.[kv]_proj$/.test(module) ? llama.keyHeads * llamaHeadSize(llama) : llama.hiddenSize;
  return adaptedModules(config).flatMap((module): ParameterSpec[] => {
    const { a, b } = factorNames(module);
    const columns = llama.hiddenSize;
    return [
      {
        name: a,
        shape: [rank, columns],
        keep: "tensor",
        stored: "F32",
        init: { kind: "uniform", bound: 1 / Math.sqrt(columns) },
      },
      {
        name: b,
        shape: [rows(module), rank],
        keep: "tensor",
        stored: "F32",
        init: { kind: "zeros" },
      },
    ];
  });
}

/** `ln_vision`, which official checkpoints lack since it stays at its initial value, and `llama_proj`. */
export function projectorParameters(config: MinigptConfig): ParameterSpec[] {
  const { llama, vision, patchesPerRow } = config;
  const { linear, norm } = specMaker("", "F32", "pytorch");
  return [
    ...norm("ln_vision", vision.hiddenSize).map((spec) => ({ ...spec, derived: true })),
    ...linear("llama_proj", llama.hiddenSize, patchesPerRow * vision.hiddenSize),
  ];
}

/** The table of all tensors. */
export function minigptParameters(config: MinigptConfig): ParameterSpec[] {
  const { llama, vision, stored } = config;
  return [
    ...llamaParameters(
      llama,
      stored.language,
      (_, prefix) => denseFeedForwardParameters(llama, prefix, stored.language),
    ),
    ...rotaryFrequencies(config),
    ...evaVitParameters(vision, names.vision, stored.vision),
    ...projectorParameters(config),
    ...adapterParameters(config),
  ];
}

/**
 * Lets the adapters among the parameters act on the matrices they belong to. The set owns nothing: the factors are released with
 * the parameters, and the set is not to be disposed.
 *
 * @param dropout Fraction dropped in training, between `dropFor` and `dropNothing`.
 * @param seed Of the dropout, 0 to 2^53 - 1.
 */
export function attachAdapters(
  parameters: Parameters,
  config: MinigptConfig,
  { dropout = config.adapters.dropout, seed = 0 }: { dropout?: number; seed?: number } = {},
): AdapterSet {
  const { rank, alpha, targets } = config.adapters;
  const modules = new Map(
    adaptedModules(config).map((module): [string, AdapterModule] => {
      const { a, b } = factorNames(module);
      const factors = { a: parameters.tensor(a), b: parameters.tensor(b) };
      return [module, { ...factors, scale: alpha / rank, embedding: false }];
    }),
  );
  const settings = loraConfig({
    r: rank,
    loraAlpha: alpha,
    loraDropout: dropout,
    targetModules: [...targets],
  });
  const set = new AdapterSet(parameters, seed);
  set.add("default", new Adapter(settings, modules));
  return set;
}
