/**
 * Scores of labels of whole images.
 *
 * @module
 */
import type { BootstrapOptions } from "@medvlm/core/eval";
import { Means, type Values } from "./estimates.ts";
import { defined, type Family, groupsOf, mergedGroups, type TaskScores } from "./family.ts";
import { exampleF1, LabelTally } from "./label_tally.ts";
import type { Prediction } from "./prediction.ts";

/** Labels of whole images, given as such or named in the answer. */
export class LabelFamily implements Family {
  readonly #tally = new LabelTally();
  readonly #means = new Means();
  #without = 0;

  /** Takes a prediction. */
  add({ answer, labels, category, modality, reference }: Prediction, extra: Values = {}) {
    if (reference.labels === undefined) {
      this.#without++;
      return undefined;
    }
    const { choices } = reference;
    const example = { truth: reference.labels, given: labels, text: answer, choices };
    this.#tally.add(example);
    this.#means.add([{ values: extra, category, modality }]);
    return exampleF1(example);
  }

  /** The scores so far. */
  scores(options: BootstrapOptions): TaskScores {
    const { metrics, classes } = this.#tally.estimates(options);
    const groups = groupsOf(this.#means, options);
    return {
      n: this.#tally.count,
      withoutReference: this.#without,
      metrics: defined({ ...metrics, ...this.#means.estimates(options) }),
      groups: Object.keys(classes).length === 0
        ? groups
        : { ...groups, class: mergedGroups(groups.class, classes) },
    };
  }
}
