/**
 * Metrics whose numbers equal those of the implementations that the papers used. Everything works on plain values: boxes,
 * masks, texts, labels; data that cannot be included (WordNet, Punkt's model, ratings, the outputs of other models) is
 * handed in. docs/metrics.md lists which paper uses which variant.
 *
 * @module
 */
export * from "./accuracy_at_iou.ts";
export * from "./bleu.ts";
export * from "./bootstrap.ts";
export * from "./box_answers.ts";
export * from "./boxes.ts";
export * from "./choice.ts";
export * from "./cider.ts";
export * from "./classification.ts";
export * from "./detection_map.ts";
export * from "./finding_labels.ts";
export * from "./judge.ts";
export type { ShapedMask } from "./mask_crop.ts";
export * from "./masks.ts";
export * from "./means.ts";
export * from "./meteor.ts";
export * from "./porter.ts";
export * from "./punkt.ts";
export { roundHalfEven, splitWhitespace } from "./python_text.ts";
export * from "./reports.ts";
export * from "./rouge.ts";
export * from "./streaming.ts";
export * from "./surface.ts";
export * from "./surface_area.ts";
export * from "./tokens.ts";
export * from "./treebank_words.ts";
export * from "./vqa.ts";
export * from "./vqa_normalise.ts";
export * from "./wordnet.ts";
export { type Assignment, assignment } from "../kernels/assignment.ts";
