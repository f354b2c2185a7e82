/**
 * What PFMVG learns from an example.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import { type Lesson, type LessonExample, type Teach, trainingPrompt } from "@medvlm/core/minigpt";
import { blipCaption, drawnOf, gridBoxText, pixelsToGrid } from "@medvlm/core/text";
import { pools, trainingInstruction } from "./prompt.ts";

/** The box of a grounding example. @throws {InputError} code `BAD_RECORD` when there is not exactly one. */
function boxAnswerOf({ id, findings = [], image }: LessonExample): string {
  const boxes = findings.flatMap((finding) => finding.boxes);
  if (boxes.length !== 1 || image === undefined) {
    throw new InputError(
      "BAD_RECORD",
      `Cannot learn a box from the example "${id}": it has ${boxes.length}, and one is expected`,
    );
  }
  return gridBoxText(pixelsToGrid(boxes[0]!, image.width, image.height));
}

/** The longest box, for examples of which only the text is known. */
const anyBox = "{<100><100><100><100>}";

/**
 * Phrases to boxes, captions and reports to their text; the instruction is drawn by the example's id, so an example keeps its own.
 */
export const teach: Teach = (example): Lesson => {
  const { id = "", prompt, answer, task = "ground-box", findings } = example;
  if (task === "ground-box") {
    const instruction = drawnOf(pools.refer, id);
    return {
      prompt: trainingPrompt(trainingInstruction(instruction, prompt)),
      answer: findings === undefined ? anyBox : boxAnswerOf(example),
    };
  }
  const pool = task === "report" ? pools.report : pools.caption;
  return {
    prompt: trainingPrompt(trainingInstruction(drawnOf(pool, id))),
    answer: blipCaption(answer),
  };
};
