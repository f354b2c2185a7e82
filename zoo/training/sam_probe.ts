/**
 * How well a promptable model outlines things in pictures it has not seen.
 *
 * @module
 */
import { maskCounts, maskDice, mean } from "@medvlm/core/eval";
import type { SamPrompt } from "@medvlm/core/nn";
import type { Thing } from "../phantoms/mod.ts";
import type { PhantomSource } from "./pool.ts";
import { boxPrompt } from "./sam_prompts.ts";
import {
  type AskedThing,
  maskedPictures,
  samBatch,
  samMasks,
  type SamModel,
  type SamPlaces,
  singleMasks,
} from "./sam_task.ts";

/** Overlap of masks with the truth. */
export interface SamProbe {
  /** Mean Dice over all masks, 0 to 1. */
  readonly dice: number;
  /** Mean over classes of their mean Dice. */
  readonly classMean: number;
  /** Mean Dice and number of masks of each class. */
  readonly classes: Readonly<Record<string, { readonly dice: number; readonly masks: number }>>;
}

/** Pictures per pass. */
const batchSize = 16;

/**
 * Asks for everything that held-out pictures show, by its exact box or by its name.
 *
 * @param source Its part should be `validate` or `test`.
 * @param promptOf Asks for a thing, all in one form; or `name`, for models with a table of names. Default: the box.
 */
export async function probeSam(
  model: SamModel,
  places: SamPlaces,
  source: PhantomSource,
  promptOf: "name" | ((thing: Thing, side: number) => SamPrompt) = ({ box, mask }, side) => ({
    box: boxPrompt(box, mask.width, side),
  }),
): Promise<SamProbe> {
  const { input } = model, { device } = model.parameters;
  const pool = maskedPictures(input, source);
  const passes: { things: readonly Thing[]; logits: Promise<Float32Array> }[] = [];
  for (let first = 0; first < source.count; first += batchSize) {
    const pictures = Array.from(
      { length: Math.min(batchSize, source.count - first) },
      (_, n) => pool.at(first + n),
    );
    const asked = pictures.flatMap((picture, owner) => {
      const { structures, findings } = promptOf === "name" ? picture.named : picture;
      return [...structures, ...findings].map((thing): AskedThing => ({
        owner,
        thing,
        ...(promptOf === "name" ? {} : { prompt: promptOf(thing, input.side) }),
      }));
    });
    using _scope = device.scope();
    const batch = samBatch(input, places.gaussian, pictures, asked);
    const logits = singleMasks(samMasks(model, places, batch), batch.size);
    passes.push({ things: asked.map(({ thing }) => thing), logits: logits.readFloats() });
  }
  const scores = new Map<string, number[]>();
  for (const { things, logits } of passes) {
    const values = await logits;
    things.forEach(({ label, mask: { data } }, m) => {
      const own = values.subarray(m * data.length, (m + 1) * data.length);
      const dice = maskDice(maskCounts(Uint8Array.from(own, (x) => x > 0 ? 1 : 0), data));
      scores.set(label, [...scores.get(label) ?? [], dice]);
    });
  }
  const classes = Object.fromEntries(
    [...scores].map(([label, all]) => [label, { dice: mean(all), masks: all.length }]),
  );
  return {
    dice: mean([...scores.values()].flat()),
    classMean: mean(Object.values(classes).map(({ dice }) => dice)),
    classes,
  };
}
