/**
 * Boxes that systems write as text, scored as for PFMVG's tables.
 *
 * @module
 */
import {
  type BootstrapOptions,
  boxToPixels,
  dice,
  iou,
  parseBoxAnswer,
  roundBox,
} from "@medvlm/core/eval";
import { Means } from "./estimates.ts";
import { defined, groupsOf, type TaskScores } from "./family.ts";
import type { Prediction } from "./prediction.ts";

/**
 * Every box that is wanted against the one that the answer begins with, rounded to pixels; an answer that begins with none counts as 0
 * and nothing is repaired. Only for answers to pictures of known size, and only once one of them began with a box: other systems
 * do not write boxes at all.
 */
export class GridBoxes {
  readonly #means = new Means();
  #isWritten = false;

  /** Takes a prediction. */
  add({ answer, width, height, reference, category, modality }: Prediction): void {
    if (width === undefined || height === undefined) return;
    const grid = parseBoxAnswer(answer);
    if (grid !== undefined) this.#isWritten = true;
    const given = grid && roundBox(boxToPixels(grid, width, height));
    this.#means.add(reference.boxes.map(({ label, box }) => ({
      values: {
        "box_iou_pfmvg": given === undefined ? 0 : iou(box, given),
        "box_dice_pfmvg": given === undefined ? 0 : dice(box, given),
      },
      class: label === "" ? undefined : label,
      category,
      modality,
    })));
  }

  /** The scores so far. */
  scores(options: BootstrapOptions): Pick<TaskScores, "metrics" | "groups"> {
    if (!this.#isWritten) return { metrics: {}, groups: {} };
    const mean = (metric: string) => this.#means.groupMean("class", metric, options);
    return {
      metrics: defined({
        ...this.#means.estimates(options),
        "class_mean_box_iou_pfmvg": mean("box_iou_pfmvg"),
        "class_mean_box_dice_pfmvg": mean("box_dice_pfmvg"),
      }),
      groups: groupsOf(this.#means, options),
    };
  }
}
