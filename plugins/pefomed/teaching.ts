/**
 * What PeFoMed learns from an example.
 *
 * @module
 */
import { type Lesson, type LessonExample, type Teach, trainingPrompt } from "@medvlm/core/minigpt";
import { drawnOf } from "@medvlm/core/text";
import {
  pefomedClasses,
  type PefomedDataset,
  trainingAnswer,
  trainingInstruction,
  trainingPlaceholder,
} from "./prompt.ts";

/** The dataset class that teaches a task. */
function classOf({ task }: LessonExample): PefomedDataset {
  return task === "report" ? "iuxray" : task === "caption" ? "roco" : "vqa";
}

/**
 * Questions, reports and captions as the released dataset classes give them; the instruction is drawn by the example's id, so an
 * example keeps its own.
 */
export const teach: Teach = (example): Lesson => {
  const { id = "", prompt, answer } = example;
  const dataset = classOf(example);
  const drawn = drawnOf(pefomedClasses[dataset].pool, id);
  const instruction = trainingInstruction(dataset, drawn, prompt);
  return {
    prompt: trainingPrompt(instruction),
    answer: trainingAnswer(answer),
    placeholder: trainingPlaceholder(instruction),
  };
};
