/**
 * Boxes that several readers drew around the same thing, and the classes of VinDr-CXR.
 *
 * @module
 */
import type { Box } from "@medvlm/core";

/** Findings with boxes, in the order of the dataset's columns. */
export const VINDR_LOCAL_LABELS: readonly string[] = [
  "Aortic enlargement",
  "Atelectasis",
  "Calcification",
  "Cardiomegaly",
  "Clavicle fracture",
  "Consolidation",
  "Edema",
  "Emphysema",
  "Enlarged PA",
  "ILD",
  "Infiltration",
  "Lung Opacity",
  "Lung cavity",
  "Lung cyst",
  "Mediastinal shift",
  "Nodule/Mass",
  "Pleural effusion",
  "Pleural thickening",
  "Pneumothorax",
  "Pulmonary fibrosis",
  "Rib fracture",
  "Other lesion",
];

/** Diagnoses of whole images, in the order in which LiteGPT names them. */
export const VINDR_GLOBAL_LABELS: readonly string[] = [
  "Lung tumor",
  "Pneumonia",
  "Tuberculosis",
  "Other diseases",
  "COPD",
  "No finding",
];

/** The name of a class whatever the file calls it: the test file has `Other disease`, the training file the plural. */
export function vindrLabel(name: string): string {
  const plain = name.trim();
  return /^other diseases?$/i.test(plain) ? "Other diseases" : plain;
}

/** Overlap of two boxes whose corners are pixels that belong to them, as LiteGPT measures it. */
function inclusiveIou(one: Box, other: Box): number {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]) + 1;
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]) + 1;
  const overlap = Math.max(0, width) * Math.max(0, height);
  const area = (box: Box) => (box[2] - box[0] + 1) * (box[3] - box[1] + 1);
  return overlap / (area(one) + area(other) - overlap);
}

/**
 * Which boxes of one class on one image stay when those of several readers are merged (LiteGPT, `preprocess_label.py`):
 * pairs that overlap by more than half form groups, in the order of the rows, and the first box of every group stays.
 * A box may change its group on the way, so that the result depends on the order; that is as published.
 *
 * @param boxes Corners in pixels, in the order of the file.
 * @returns Indices of the boxes that stay, rising.
 */
export function mergeDuplicateBoxes(boxes: readonly Box[]): number[] {
  const groups: (number | undefined)[] = new Array(boxes.length).fill(undefined);
  let next = 0;
  for (let one = 0; one < boxes.length; one++) {
    for (let other = one + 1; other < boxes.length; other++) {
      if (inclusiveIou(boxes[one], boxes[other]) <= 0.5) continue;
      if (groups[one] === undefined && groups[other] === undefined) {
        groups[one] = groups[other] = next++;
      } else if (groups[one] !== undefined) groups[other] = groups[one];
      else groups[one] = groups[other];
    }
  }
  const seen = new Set<number>();
  return groups.flatMap((group, index) => {
    if (group === undefined) return [index];
    if (seen.has(group)) return [];
    seen.add(group);
    return [index];
  });
}
