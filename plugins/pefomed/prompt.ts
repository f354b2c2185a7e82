/**
 * PeFoMed's prompts and answers, dataset class by dataset class (`pefomed/datasets/datasets/medical/`): which instruction, what the
 * text processor makes of it, what training and evaluation see.
 *
 * @module
 */
import { imageTag } from "@medvlm/core/minigpt";
import {
  blipCaption,
  captionInstructions,
  chestReportInstructions,
  fillInstruction,
  vqaInstructions,
} from "@medvlm/core/text";

/** A dataset class; `vqa` is that of VQA-RAD, SLAKE and PathVQA. */
export type PefomedDataset = "roco" | "clef" | "medicat" | "iuxray" | "mimiccxr" | "vqa";

/**
 * `official` reproduces the released code, which released weights were trained and evaluated with; `repaired` is for training
 * anew: CLEF and MEDICAT are processed as ROCO is, and IU-Xray is evaluated with the tag it was trained with.
 */
export type PefomedBehaviour = "official" | "repaired";

/** What a dataset class does. */
export interface PefomedClass {
  /** Tag of the training instructions. */
  readonly tag: "[caption]" | "[report]" | "[vqa]";
  /** Tag of the evaluation's instructions, as released. */
  readonly evaluationTag: "[caption]" | "[vqa]";
  /** One is drawn per sample, in training and in evaluation; `vqa` always evaluates with its last. */
  readonly pool: readonly string[];
  /** Training leaves entries out whose image is missing. */
  readonly dropsMissing: boolean;
  /** Training instructions pass the text processor; where not, the released training fails on them. */
  readonly processed: boolean;
}

const captions = {
  tag: "[caption]",
  evaluationTag: "[caption]",
  pool: captionInstructions,
  dropsMissing: false,
  processed: true,
} as const;

/** The dataset classes by name. */
export const pefomedClasses: Readonly<Record<PefomedDataset, PefomedClass>> = {
  roco: captions,
  clef: { ...captions, processed: false },
  medicat: { ...captions, processed: false },
  iuxray: { ...captions, tag: "[report]", pool: chestReportInstructions },
  mimiccxr: { ...captions, pool: chestReportInstructions, dropsMissing: true },
  vqa: {
    tag: "[vqa]",
    evaluationTag: "[vqa]",
    pool: vqaInstructions,
    dropsMissing: true,
    processed: true,
  },
};

/** How texts are made. */
export interface PefomedTextOptions {
  /** Default `official`. */
  readonly behaviour?: PefomedBehaviour;
  /** Words that the text processor keeps. Default 50, which also cuts reports. */
  readonly maxWords?: number;
}

/** The instruction with its tag; the pool of `vqa` has the tag inside. */
function tagged(tag: string, instruction: string, question: string): string {
  return tag === "[vqa]" ? fillInstruction(instruction, question) : `${tag} ${instruction}`;
}

/**
 * The instruction of a training sample, image tag included. After the text processor the tag is `<img><imagehere></img>`; the model
 * splits at {@linkcode trainingPlaceholder}.
 *
 * @param instruction One of the class's pool.
 * @param question For `vqa`.
 */
export function trainingInstruction(
  dataset: PefomedDataset,
  instruction: string,
  question = "",
  { behaviour = "official", maxWords }: PefomedTextOptions = {},
): string {
  const { tag, processed } = pefomedClasses[dataset];
  const whole = `${imageTag} ${tagged(tag, instruction, blipCaption(question, maxWords))}`;
  return processed || behaviour === "repaired" ? blipCaption(whole, maxWords) : `${whole} `;
}

/** Where a training instruction has its picture. */
export function trainingPlaceholder(instruction: string): "<imagehere>" | "<ImageHere>" {
  return instruction.includes("<imagehere>") ? "<imagehere>" : "<ImageHere>";
}

/**
 * The question of an evaluation sample, without image tag: `predict_answers` puts `<Img><ImageHere></Img>` in front, capitals kept.
 *
 * @param instruction One of the class's pool; `vqa` always takes the last.
 * @param question For `vqa`.
 */
export function evaluationQuestion(
  dataset: PefomedDataset,
  instruction: string,
  question = "",
  { behaviour = "official", maxWords }: PefomedTextOptions = {},
): string {
  const { tag, evaluationTag, pool } = pefomedClasses[dataset];
  const used = behaviour === "official" ? evaluationTag : tag;
  const chosen = dataset === "vqa" ? pool.at(-1)! : instruction;
  return blipCaption(tagged(used, chosen, blipCaption(question, maxWords)), maxWords);
}

/** An answer, a caption or a report as training sees it; whole numbers become text. */
export function trainingAnswer(
  answer: string | number,
  { maxWords }: Pick<PefomedTextOptions, "maxWords"> = {},
): string {
  return blipCaption(String(answer), maxWords);
}
