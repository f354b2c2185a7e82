/**
 * Average precision of boxes with confidences.
 *
 * @module
 */
import { type BootstrapOptions, detectionMetric } from "@medvlm/core/eval";
import type { Estimate } from "./estimates.ts";
import type { Prediction } from "./prediction.ts";

/** Resamples of an interval; average precision sorts all boxes anew for each. */
const mostResamples = 200;

/** Collects scored boxes. Systems whose boxes have no confidence have no average precision. */
export class DetectionTally {
  readonly #metric = detectionMetric({ single: [0.5], maxDetections: [100] });
  #scored = false;

  /** Takes the boxes of a prediction. */
  add({ boxes, reference }: Prediction): void {
    const plain = (label: string) => label.trim().toLowerCase();
    this.#scored ||= boxes.some(({ score }) => score !== undefined);
    this.#metric.add({
      predictions: boxes.flatMap(({ label, box, score }) =>
        score === undefined ? [] : [{ label: plain(label), box, score }]
      ),
      truths: reference.boxes.map(({ label, box }) => ({ label: plain(label), box })),
    });
  }

  /** COCO's mean average precision, and that at an overlap of 0.5; intervals of at most 200 resamples. */
  estimates(options: BootstrapOptions): Record<string, Estimate> {
    if (!this.#scored) return {};
    const resamples = Math.min(mostResamples, options.resamples ?? mostResamples);
    const [ap, ap50] = this.#metric.intervals(({ ap, apAt }) => [ap, apAt[0]], {
      ...options,
      resamples,
    }).map(({ estimate: value, low, high }) => ({ n: this.#metric.count, value, low, high }));
    return { map: ap, "map@0.5": ap50 };
  }
}
