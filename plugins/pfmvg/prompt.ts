/**
 * PFMVG's prompts: `[caption]` for stage 1, `[refer]` for stage 2, one instruction of a pool per training sample.
 *
 * @module
 */
import { imageTag } from "@medvlm/core/minigpt";
import {
  blipCaption,
  captionInstructions,
  chestReportInstructions,
  fillInstruction,
  referInstructions,
} from "@medvlm/core/text";

/**
 * How training instructions are written: `minigpt` as MiniGPT-v2's own code does (capitals kept, a blank at the end), `pefomed` as the
 * MS-CXR class of PeFoMed does, which passes the whole instruction through the text processor and so lower-cases the image tag too.
 */
export type PfmvgSpelling = "minigpt" | "pefomed";

/** The label text of an annotation as it goes into instructions. */
export function referSentence(label: string): string {
  return blipCaption(label);
}

/** The question of evaluation and of use: always the first instruction of the pool, the label processed as in training. */
export function referQuestion(label: string): string {
  return fillInstruction(referInstructions[0]!, referSentence(label));
}

/** A `[caption]` instruction: of figures, or of chest X-rays with their reports. */
export function captionInstruction(instruction: string): string {
  return `[caption] ${instruction}`;
}

/** Instructions of a stage's samples, without the image tag. */
export const pools: Readonly<Record<"refer" | "caption" | "report", readonly string[]>> = {
  /** Stage 2; `{}` is the label text. */
  refer: referInstructions,
  /** Stage 1, ROCO and CLEF2022. */
  caption: captionInstructions.map(captionInstruction),
  /** Stage 1, MIMIC-CXR. */
  report: chestReportInstructions.map(captionInstruction),
};

/**
 * The instruction of a training sample with the image tag in front.
 *
 * @param instruction One of {@linkcode pools}.
 * @param label For `refer`: the label text as annotated.
 */
export function trainingInstruction(
  instruction: string,
  label = "",
  spelling: PfmvgSpelling = "minigpt",
): string {
  const filled = `${imageTag} ${fillInstruction(instruction, referSentence(label))}`;
  return spelling === "minigpt" ? `${filled} ` : blipCaption(filled);
}

/** Where a training instruction of a spelling has its picture. */
export function placeholderOf(spelling: PfmvgSpelling): "<ImageHere>" | "<imagehere>" {
  return spelling === "minigpt" ? "<ImageHere>" : "<imagehere>";
}
