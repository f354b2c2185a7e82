/**
 * What the metrics of a report mean, in a few words.
 *
 * @module
 */

const texts: Readonly<Record<string, string>> = {
  accuracy: "answer equal to a reference after normalisation",
  "closed_accuracy": "the same over closed questions",
  "open_accuracy": "the same over open questions",
  "choice_accuracy": "the option that the answer means is the right one",
  "judge_accuracy": "answers that the judge calls right",
  likert: "rating of the judge, 0 to 4",
  "open_precision": "shared words over words of the answer, open questions",
  "open_recall": "shared words over words of the reference, open questions",
  "open_f1": "harmonic mean of both, open questions",
  "open_rouge_l": "longest common subsequence, open questions",
  "modality_mean_accuracy": "mean of the means per modality",
  "modality_mean_choice_accuracy": "mean of the means per modality",
  "bleu_1": "BLEU-1 over all texts",
  "bleu_2": "BLEU-2 over all texts",
  "bleu_3": "BLEU-3 over all texts",
  "bleu_4": "BLEU-4 over all texts",
  "rouge_1": "shared words, F1",
  "rouge_2": "shared pairs of words, F1",
  "rouge_l": "longest common subsequence",
  meteor: "exact and stem stages, without synonyms",
  cider: "CIDEr-D, 0 to 10",
  "radgraph_f1": "shared entities of RadGraph",
  "subset_accuracy": "images with every label right",
  "fnr_micro": "share of the labels that were missed",
  "fnr_macro": "the same, mean over labels",
  precision: "given labels that hold",
  recall: "labels that were given",
  f1: "harmonic mean of precision and recall",
  fnr: "share that was missed",
  "box_iou": "overlap with the best box of the answer, mean over boxes (wIoU)",
  "box_dice": "the same as Dice (wDice)",
  "box_giou": "generalised IoU, -1 to 1; without a box -1",
  "box_answered": "boxes for which the answer has any box",
  "class_mean_box_iou": "mean of the means per class",
  "class_mean_box_dice": "mean of the means per class",
  "precision@0.5": "boxes of the answer that overlap a right one by more than 0.5",
  dice: "Dice of masks, mean over findings",
  iou: "IoU of masks, mean over findings",
  "mask_answered": "findings for which the answer has any mask",
  "class_mean_dice": "mean of the means per class",
  "class_mean_iou": "mean of the means per class",
  "modality_mean_dice": "mean of the means per modality",
  map: "COCO's mean average precision, overlaps 0.5 to 0.95",
  "map@0.5": "mean average precision at an overlap of 0.5",
};

const averages: Readonly<Record<string, string>> = {
  micro: "all labels pooled",
  macro: "mean over labels",
  weighted: "mean over labels, weighted by how often they hold",
  samples: "mean over images",
};

const systems: Readonly<Record<string, string>> = {
  litegpt: "LiteGPT",
  medplib: "MedPLIB",
  pefomed: "PeFoMed",
  pfmvg: "PFMVG",
  vividmed: "VividMed",
};

/** A system as people write its name, by the ending of the metrics that follow its script. */
export function variantName(ending: string): string {
  return systems[ending] ?? ending;
}

/** The system whose script a metric follows, where it is not the standard one. */
export function variantOf(metric: string): string | undefined {
  const suffix = /_([a-z]+)$/.exec(metric)?.[1];
  return suffix === undefined || !Object.hasOwn(systems, suffix) ? undefined : systems[suffix];
}

/** What a metric means; empty where its name says it all. */
export function metricText(metric: string): string {
  const system = variantOf(metric);
  if (system !== undefined) return `as the script of ${system} computes it`;
  if (metric.startsWith("chexbert_5_")) return `five conditions: ${metricText(metric.slice(11))}`;
  if (metric.startsWith("chexbert_")) return `labels of CheXbert: ${metricText(metric.slice(9))}`;
  if (/^open_bleu_\d$/.test(metric)) return `${texts[metric.slice(5)]} to open questions`;
  const threshold = /^accuracy@(.+)$/.exec(metric)?.[1];
  if (threshold !== undefined) return `boxes that are overlapped by more than ${threshold}`;
  const average = /^(precision|recall|f1)_(\w+)$/.exec(metric);
  if (average !== null) return `${texts[average[1]]}, ${averages[average[2]]}`;
  return Object.hasOwn(texts, metric) ? texts[metric] : "";
}
