/**
 * Labels of findings read off texts or given by classifiers that are not part of this project: LiteGPT's substring search,
 * and the outputs of CheXbert and RadBERT as VividMed turns them into labels.
 *
 * @module
 */

/** The 22 local findings of VinDr-CXR, in the order of LiteGPT's reports. */
export const litegptLocalLabels: readonly string[] = [
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

/** The six global diagnoses and `Finding`, which means that "no finding" does not occur. */
export const litegptGlobalLabels: readonly string[] = [
  "COPD",
  "Lung tumor",
  "Pneumonia",
  "Tuberculosis",
  "Other disease",
  "No finding",
  "Finding",
];

/** All 29 labels of LiteGPT. */
export const litegptLabels: readonly string[] = [...litegptLocalLabels, ...litegptGlobalLabels];

/**
 * The labels that a text names, 0 or 1 each (LiteGPT `extract_labels`): the lower-cased name occurs in the lower-cased text
 * without its tags. Parts of words count ("ILD" in "mild"), and so do negated findings. The label `Finding` is 1 unless
 * "no finding" occurs.
 */
export function extractLabels(text: string, labels: readonly string[] = litegptLabels): number[] {
  const bare = text.toLowerCase().replace(/<[^\n]*?>/g, "");
  return labels.map((label) =>
    Number(label === "Finding" ? !bare.includes("no finding") : bare.includes(label.toLowerCase()))
  );
}

/** The 14 CheXpert conditions in CheXbert's order. */
export const chexpertLabels: readonly string[] = [
  "Enlarged Cardiomediastinum",
  "Cardiomegaly",
  "Lung Opacity",
  "Lung Lesion",
  "Edema",
  "Consolidation",
  "Pneumonia",
  "Atelectasis",
  "Pneumothorax",
  "Pleural Effusion",
  "Pleural Other",
  "Fracture",
  "Support Devices",
  "No Finding",
];

/** Places of the five conditions that papers report apart: cardiomegaly, edema, consolidation, atelectasis, pleural effusion. */
export const chexpert5: readonly number[] = [1, 4, 5, 7, 9];

/** CheXbert's class per condition (0 blank, 1 positive, 2 negative, 3 uncertain) as labels: positive and uncertain are 1. */
export function chexbertToLabels(classes: ArrayLike<number>): number[] {
  return Array.from(classes, (value) => Number(value === 1 || value === 3));
}

/** RadBERT's logits per label (18 of CT-RATE) as labels: 1 where the sigmoid is at least 0.5. */
export function radbertToLabels(logits: ArrayLike<number>): number[] {
  return Array.from(logits, (logit) => Number(1 / (1 + Math.exp(-logit)) >= 0.5));
}
