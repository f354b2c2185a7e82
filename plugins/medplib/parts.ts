/**
 * The parts of MedPLIB for those who study or extend it: configuration, parameter table, prompt, preprocessing, vision,
 * language and grounding.
 *
 * @module
 */
export * from "./assembly.ts";
export * from "./config.ts";
export * from "./config_files.ts";
export * from "./grounding.ts";
export * from "./icl.ts";
export * from "./in_context.ts";
export * from "./language.ts";
export * from "./model.ts";
export * from "./params.ts";
export * from "./postprocess.ts";
export * from "./preprocess.ts";
export * from "./prompt.ts";
export * from "./region.ts";
export { makeCompanions } from "./release_files.ts";
export * from "./request.ts";
export * from "./retrieval.ts";
export * from "./shared_batch.ts";
export * from "./stage_run.ts";
export { type StageModel, stageModel } from "./stage_start.ts";
export * from "./stages.ts";
export * from "./teacher_forcing.ts";
export * from "./training.ts";
export * from "./training_batch.ts";
export * from "./training_example.ts";
export * from "./training_loss.ts";
export * from "./training_memory.ts";
export * from "./training_sample.ts";
export * from "./vision.ts";
