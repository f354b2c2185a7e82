/**
 * What `run` asks when the user brings no picture or no question: about the chest X-ray that ships with the zoo, or, for the
 * small checkpoints that ship, about a drawn radiograph, since they have seen no other.
 *
 * @module
 */
import type { Raster } from "@medvlm/core";
import { chestReportInstructions } from "@medvlm/core/text";
import { chestPhantom, splitIndex } from "./phantoms/mod.ts";
import { readPicture } from "./run_inputs.ts";

/** A picture with questions that suit it. */
export interface Demo {
  /** Name of the file that `answer.json` has. */
  readonly file: string;
  /** The picture in words. */
  readonly what: string;
  /** The picture and the format it came in. */
  read(): Promise<{ raster: Raster; format: string }>;
  /** What is asked for a mask, for a box, about a region, for a report or a caption, and otherwise. */
  readonly prompts: Readonly<Record<"mask" | "box" | "region" | "report" | "question", string>>;
}

const report = chestReportInstructions[0]!;
const picture = new URL("./demo/chest_xray.jpg", import.meta.url);

/** The chest X-ray that ships with the zoo. */
export const chestXray: Demo = {
  file: "chest_xray.jpg",
  what: "the chest X-ray that ships with the zoo",
  read: () => readPicture(decodeURIComponent(picture.pathname)),
  prompts: {
    mask: "Please segment the left lung in this chest X-ray.",
    box: "left lung",
    region: "What is shown in this region?",
    report,
    question: "What abnormality is seen in this image?",
  },
};

/** Which phantom: one of the test part, which no recipe trains on. */
const drawn = { size: 384, seed: 7, index: splitIndex("test", 0) };

/** A drawn radiograph that no checkpoint was trained on. */
export const drawnRadiograph: Demo = {
  file: "phantom.png",
  what: "a drawn chest radiograph (the weights that ship have seen no other kind)",
  read: () => Promise.resolve({ raster: chestPhantom(drawn).image, format: "png" }),
  prompts: {
    mask: "Segment the right lung in this chest radiograph.",
    box: "heart",
    region: "What does this region show?",
    report,
    question: "Is there a pleural effusion?",
  },
};
