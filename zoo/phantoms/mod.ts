/**
 * Phantoms: pictures drawn from a seed that look like chest radiographs and CT volumes, whose truth is known exactly.
 *
 * A phantom is given by its seed and its index. Indices of different parts never meet, so that what a model is tested on
 * is never what it was trained on:
 *
 * @example The first training picture and the first held-out one of seed 7
 * ```ts ignore
 * import { chestExamples, chestPhantom, splitIndex } from "@medvlm/zoo/phantoms";
 *
 * const seen = chestPhantom({ size: 64, seed: 7, index: splitIndex("train", 0) });
 * const unseen = chestPhantom({ size: 64, seed: 7, index: splitIndex("test", 0) });
 * for (const { prompt, answer, regions, findings } of chestExamples(seen)) console.log(prompt, answer);
 * ```
 *
 * @module
 */
export type { Channels } from "@medvlm/core/image";
export type {
  Box,
  Box3,
  Example,
  FileSource,
  Finding,
  Mask,
  Raster,
  Region,
  Task,
  Turn,
} from "@medvlm/core";
export { chestPhantom } from "./chest.ts";
export type { ChestInstance, ChestOptions, ChestPhantom } from "./chest.ts";
export { chestLabels } from "./chest_findings.ts";
export type { ChestFinding, ChestLabel, Prevalence, Zone } from "./chest_findings.ts";
export type { Side } from "./chest_anatomy.ts";
export {
  chestExamples,
  chestThings,
  closedExamples,
  globalLabels,
  localLabels,
} from "./chest_text.ts";
export { Field, maskBox, type Shape } from "./field.ts";
export { type Split, splitCounts, splitIndex } from "./splits.ts";
export type { Thing } from "./thing_examples.ts";
export {
  type VolumeInstance,
  type VolumeLabel,
  type VolumeOptions,
  type VolumePhantom,
  volumePhantom,
} from "./volume.ts";
export { volumeLabels } from "./volume_findings.ts";
export { structureNames, structureValue, structureWords } from "./volume_labels.ts";
export {
  organBoxes,
  organs,
  sliceExamples,
  slicePicture,
  sliceThings,
  usualWindow,
  type Window,
  windows,
} from "./volume_slices.ts";
export { volumeExamples } from "./volume_text.ts";
