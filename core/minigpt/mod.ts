/**
 * The MiniGPT-v2 family, which PFMVG and PeFoMed are built on: EVA ViT-G, four patches joined to a row, a linear projection, LLaMA-2
 * with low-rank adapters. Configuration, the official three-part checkpoint, prompts, answers and the training loss.
 *
 * @module
 */
export * from "./answer_measure.ts";
export * from "./answering.ts";
export * from "./checkpoint.ts";
export * from "./config.ts";
export * from "./config_files.ts";
export * from "./family_plugin.ts";
export * from "./language.ts";
export * from "./model.ts";
export * from "./params.ts";
export * from "./preprocess.ts";
export * from "./prompt.ts";
export * from "./shared_batch.ts";
export * from "./stage_run.ts";
export * from "./stage_start.ts";
export { builtInTokenizerFiles } from "./tokenizer.ts";
export * from "./training_batch.ts";
export * from "./training_loss.ts";
