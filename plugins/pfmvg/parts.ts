/**
 * What PFMVG is made of besides the model: prompts, MS-CXR, stages, evaluation and the paper's tables.
 *
 * @module
 */
export * from "./augment.ts";
export * from "./evaluation.ts";
export * from "./ms_cxr.ts";
export * from "./prompt.ts";
export * from "./published.ts";
export * from "./stages.ts";
export * from "./grounding.ts";
export * from "./teaching.ts";
