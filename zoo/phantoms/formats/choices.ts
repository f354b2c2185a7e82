/**
 * Four choices for open questions.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { Random } from "../random.ts";
import { structureNames, structureWords } from "../volume_labels.ts";
import type { PhantomCase } from "./case.ts";

/** Marks the draws of choices. */
const CHOICE_DRAWS = 0x63686f69;

const sides = ["right", "left"];
const zones = sides.flatMap((side) =>
  ["upper", "middle", "lower"].map((zone) => `${side} ${zone} zone`)
);
const places = structureNames.filter((name) => /^(lung|kidney|liver)/.test(name)).map(
  structureWords,
);

/** Other answers that a question of this kind might have. */
function others({ category, answer }: Example): readonly string[] {
  switch (category) {
    case "modality":
      return [answer, "MRI", "ultrasound", answer === "CT" ? "x-ray" : "CT"];
    case "side":
      return [...sides, "both", "neither"];
    case "zone":
      return zones;
    case "place":
      return places;
    case "severity":
      return /mild|marked/.test(answer)
        ? ["mild", "moderate", "marked", "absent"]
        : ["small", "moderate", "large", "absent"];
    case "count":
      return ["0", "1", "2", "3", "4", "5"];
    case "size":
      return [0.4, 0.7, 1, 1.6, 2.2].map((factor) => String(Math.round(factor * Number(answer))));
    default:
      return [];
  }
}

/** Four different choices in a random order, the answer among them; undefined where there are not enough. */
export function multipleChoice(
  example: Example,
  { id, number }: PhantomCase,
): string[] | undefined {
  // The same question about the same picture always has the same choices.
  let hash = number;
  for (const letter of id + example.id) hash = Math.imul(hash, 31) + letter.charCodeAt(0) >>> 0;
  const random = new Random(0, hash, CHOICE_DRAWS);
  const wrong = [...new Set(others(example))].filter((choice) => choice !== example.answer);
  if (wrong.length < 3) return undefined;
  return random.shuffled([example.answer, ...random.shuffled(wrong).slice(0, 3)]);
}
