/**
 * Scores of reports from what classifiers outside this project said about them: CheXbert and RadGraph.
 *
 * @module
 */
import {
  type BootstrapOptions,
  chexbertToLabels,
  chexpert5,
  chexpertLabels,
  radgraphF1,
  type RadGraphReport,
} from "@medvlm/core/eval";
import type { Values } from "./estimates.ts";
import { type LabelEstimates, LabelTally } from "./label_tally.ts";

/** What classifiers said about texts. */
export interface ReportLabelSource {
  /** CheXbert's class of every condition (0 blank, 1 positive, 2 negative, 3 uncertain) for a text. */
  readonly chexbert?: (text: string) => readonly number[] | undefined;
  /** RadGraph's annotation of a text. */
  readonly radgraph?: (text: string) => RadGraphReport | undefined;
}

const five = chexpert5.map((index) => chexpertLabels[index]);

/** Collects labels of reports and of their references. A text without an entry counts in none of these scores. */
export class ReportLabels {
  readonly #source: ReportLabelSource;
  readonly #all = new LabelTally();
  readonly #five = new LabelTally();

  /** Scores from these outputs. */
  constructor(source: ReportLabelSource) {
    this.#source = source;
  }

  /** Takes a report; gives the values that every report has for itself. */
  add(prediction: string, reference: string): Values {
    const { chexbert, radgraph } = this.#source;
    const given = chexbert?.(prediction), truth = chexbert?.(reference);
    if (given !== undefined && truth !== undefined) {
      const positive = (classes: readonly number[]) => {
        const labels = chexbertToLabels(classes);
        return chexpertLabels.filter((_, index) => labels[index] === 1);
      };
      const among = (choices: readonly string[]) => ({
        truth: positive(truth).filter((label) => choices.includes(label)),
        given: positive(given).filter((label) => choices.includes(label)),
        text: prediction,
        choices,
      });
      this.#all.add(among(chexpertLabels));
      this.#five.add(among(five));
    }
    const predicted = radgraph?.(prediction), wanted = radgraph?.(reference);
    return predicted === undefined || wanted === undefined
      ? {}
      : { "radgraph_f1": radgraphF1(predicted, wanted) };
  }

  /** The scores of CheXbert's labels: all fourteen, and the five that papers report apart. */
  estimates(options: BootstrapOptions): LabelEstimates {
    const named = (prefix: string, metrics: LabelEstimates["metrics"]) =>
      Object.fromEntries(Object.entries(metrics).map(([name, one]) => [`${prefix}${name}`, one]));
    const all = this.#all.estimates(options);
    return {
      metrics: {
        ...named("chexbert_", all.metrics),
        ...named("chexbert_5_", this.#five.estimates(options).metrics),
      },
      classes: Object.fromEntries(
        Object.entries(all.classes).map(([name, metrics]) => [name, named("chexbert_", metrics)]),
      ),
    };
  }
}
