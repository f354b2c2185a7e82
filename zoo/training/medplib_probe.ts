/**
 * How a MedPLIB in training does on pictures it has not seen, under teacher forcing.
 *
 * @module
 */
import { maskCounts, maskDice, mean } from "@medvlm/core/eval";
import type { Parameters } from "@medvlm/core/nn";
import type { Tensor } from "@medvlm/core/tensor";
import { forcedAnswers } from "@medvlm/medplib/parts";
import { majority } from "./figures.ts";
import { type ChosenPicture, lessonBatch, type TaughtPicture } from "./medplib_data.ts";
import type { Lesson, Teaching } from "./medplib_lessons.ts";
import type { Pool } from "./pool.ts";

/** Pictures per pass. */
const picturesAtOnce = 8;

/** Share of right answers by kind of conversation, and mean Dice of masks by what is segmented and over all. */
export interface MedplibProbe {
  /** Share of answers whose every token is the most probable one. */
  readonly right: Readonly<Record<string, number>>;
  /** Share of the most frequent answer, for kinds with few answers. */
  readonly majority: Readonly<Record<string, number>>;
  /** Mean Dice by topic; `all` is the mean over masks. */
  readonly dice: Readonly<Record<string, number>>;
}

/**
 * Measures every conversation of the wanted kinds about some pictures.
 *
 * @param positions Positional encoding of SAM's grid.
 * @param pool Pictures of the part `validate` or `test`, each of which is looked at.
 */
export async function probeMedplib(
  parameters: Parameters,
  positions: Tensor,
  teaching: Teaching,
  pool: Pool<TaughtPicture>,
  kinds: readonly Lesson[],
): Promise<MedplibProbe> {
  const right = new Map<string, number[]>(), answers = new Map<string, string[]>();
  const dice = new Map<string, number[]>();
  const push = <T>(map: Map<string, T[]>, key: string, value: T) =>
    map.set(key, [...map.get(key) ?? [], value]);
  const pictures = Array.from({ length: pool.size }, (_, n) => pool.at(n));
  for (const kind of kinds) {
    const all = pictures.map((picture): ChosenPicture => {
      // One wording of each topic is enough of long answers.
      const plans = (picture.lessons.get(kind) ?? []).slice(0, kind === "caption" ? 1 : Infinity);
      const lessons = plans.map((plan) => plan.prepared());
      // Nothing is learned, and nothing can be known, of a region that no cell of the grid lies in.
      return { picture, lessons: lessons.filter(({ cells }) => cells?.length !== 0) };
    }).filter(({ lessons }) => lessons.length > 0);
    for (let first = 0; first < all.length; first += picturesAtOnce) {
      const some = all.slice(first, first + picturesAtOnce);
      const batch = lessonBatch(teaching, some);
      const found = await forcedAnswers(parameters, batch, teaching.config, positions);
      let mask = 0;
      some.flatMap(({ lessons }) => lessons).forEach((lesson, i) => {
        push(right, lesson.lesson, found.right[i] ? 1 : 0);
        push(answers, lesson.lesson, lesson.answer);
        if (lesson.mask === undefined) return;
        const score = maskDice(maskCounts(found.masks[mask++]!.data, lesson.mask.data));
        push(dice, lesson.topic, score);
        push(dice, "all", score);
      });
    }
  }
  const means = (map: ReadonlyMap<string, number[]>) =>
    Object.fromEntries([...map].map(([name, values]) => [name, mean(values)]));
  return {
    right: means(right),
    majority: Object.fromEntries(
      [...answers].map(([name, given]) => [name, majority(given)]),
    ),
    dice: means(dice),
  };
}
