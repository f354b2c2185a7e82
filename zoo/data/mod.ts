/**
 * Datasets in the formats in which they are published, read as {@linkcode Example}s: lazily, with every record that had
 * to be left out counted and named.
 *
 * @example Count the training questions of a folder
 * ```ts ignore
 * import { openFolder } from "@medvlm/core";
 * import { datasets } from "@medvlm/zoo/data";
 *
 * const examples = datasets.vqa_rad.read(await openFolder("./vqa_rad"), { split: "train" });
 * for await (const { prompt, answer } of examples) console.log(prompt, answer);
 * console.log(`${examples.read} read, ${examples.skipped} left out`);
 * ```
 *
 * @module
 */
import { chestxDet } from "./chestx_det.ts";
import { coco } from "./coco.ts";
import { ctRate } from "./ct_rate.ts";
import { iuXray, reportLists } from "./iu_xray.ts";
import { llavaMed } from "./llava_med.ts";
import { maskPairs } from "./mask_pairs.ts";
import { meCoVqa } from "./mecovqa.ts";
import { mimicCxr } from "./mimic_cxr.ts";
import { msCxr } from "./ms_cxr.ts";
import { nih14, nih14Boxes } from "./nih14.ts";
import { omniMedVqa } from "./omnimedvqa.ts";
import { indiana, openi } from "./openi.ts";
import { pathVqa } from "./path_vqa.ts";
import { pmcVqa } from "./pmc_vqa.ts";
import type { DatasetReader } from "./reader.ts";
import { roco } from "./roco.ts";
import { saMed2d20m, samMed2d } from "./sam_masks.ts";
import { slake, slakeObjects } from "./slake.ts";
import { totalSegmentator } from "./total_segmentator.ts";
import { vindrCxr } from "./vindr_cxr.ts";
import { vqaMed } from "./vqa_med.ts";
import { vqaRad } from "./vqa_rad.ts";

export type {
  Box,
  Box3,
  Example,
  FileSource,
  Finding,
  FolderSource,
  Mask,
  Region,
  Task,
  Turn,
} from "@medvlm/core";
export type { DatasetReader, Examples, Problem, ReadOptions, Split } from "./reader.ts";
export { csvRecords, csvRows, splitFields } from "./csv.ts";
export type { CsvRecord, CsvRow } from "./csv.ts";
export { type JsonRecord, jsonRecords } from "./json_records.ts";
export { splitPatients } from "./split.ts";
export { joinSections, reportSections } from "./reports.ts";
export type { ReportSections } from "./reports.ts";
export {
  mergeDuplicateBoxes,
  VINDR_GLOBAL_LABELS,
  VINDR_LOCAL_LABELS,
  vindrLabel,
} from "./vindr_boxes.ts";

/** All readers by name, in the order of the alphabet. */
export const datasets: Readonly<Record<string, DatasetReader>> = Object.fromEntries(
  [
    chestxDet,
    coco,
    ctRate,
    indiana,
    iuXray,
    llavaMed,
    maskPairs,
    meCoVqa,
    mimicCxr,
    msCxr,
    nih14,
    nih14Boxes,
    omniMedVqa,
    openi,
    pathVqa,
    pmcVqa,
    reportLists,
    roco,
    saMed2d20m,
    samMed2d,
    slake,
    slakeObjects,
    totalSegmentator,
    vindrCxr,
    vqaMed,
    vqaRad,
  ].map((reader) => [reader.name, reader]),
);
