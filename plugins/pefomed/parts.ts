/**
 * What PeFoMed is made of besides the model: prompts, annotation files, stages, judging and published figures.
 *
 * @module
 */
export * from "./annotations.ts";
export * from "./augment.ts";
export * from "./judging.ts";
export * from "./prompt.ts";
export * from "./published.ts";
export * from "./stages.ts";
export * from "./asking.ts";
export * from "./teaching.ts";
