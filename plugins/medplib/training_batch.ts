/**
 * Several training samples as one batch of the language model: spliced rows, padding, targets.
 *
 * @module
 */
import { InputError, type Mask } from "@medvlm/core";
import type { SharedLayout } from "@medvlm/core/nn";
import type { MedplibConfig } from "./config.ts";
import { type VisualInput, type VisualStack, visualStack } from "./icl.ts";
import { joined } from "./joined.ts";
import type { Size } from "./postprocess.ts";
import { ignoredLabel, imagePlaceholder, regionPlaceholder } from "./prompt.ts";
import type { TrainingSample } from "./training_sample.ts";

/** A mask that a sample of the batch should give. */
export interface MaskTarget {
  /** Sample of the batch. */
  readonly sample: number;
  /** Picture of the batch's `samPixels`. */
  readonly picture: number;
  /** Row of the batch's hidden states that becomes the mask: the one before `<SEG>`. */
  readonly row: number;
  /** Size of the picture inside the pixel encoder's input. */
  readonly resized: Size;
  /** The truth at the size of the picture. */
  readonly mask: Mask;
}

/** A batch on the host. Row numbers count through shared prefixes, where there are any, and then through [B, T]. */
export interface TrainingBatch {
  /** Samples, B. */
  readonly size: number;
  /** Rows per sample after splicing and padding, T, without a shared prefix. */
  readonly length: number;
  /** Beginnings that several samples share. */
  readonly prefixes?: SharedLayout["prefixes"];
  /** Token ids of all samples one after the other, padding included, without placeholders [N]. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /**
   * Where each row of the batch comes from: a token of `tokens`, then N + a row of the images, then of the masks (in
   * order of the samples), then a region; -1 for zeros.
   */
  readonly source: Int32Array<ArrayBuffer>;
  /** Rows in use of each sample [B], a shared prefix included. */
  readonly lengths: Uint32Array<ArrayBuffer>;
  /** Rows whose prediction counts, and what they should predict. */
  readonly targetRows: Int32Array<ArrayBuffer>;
  /** Token ids beside `targetRows`. */
  readonly targets: Int32Array<ArrayBuffer>;
  /** Images and masks that the samples read: one image each, or several in their order. */
  readonly visual: VisualStack;
  /** Samples with a region in their text, the image of `visual` that it lies in, and its grid cells. */
  readonly regions: readonly {
    readonly sample: number;
    readonly image: number;
    readonly cells: readonly (readonly [number, number])[];
  }[];
  /** Inputs of the pixel encoder [M, 3, S, S], of pictures that masks are wanted of. */
  readonly samPixels: Float32Array<ArrayBuffer>;
  /** Masks wanted, sample by sample. */
  readonly masks: readonly MaskTarget[];
}

const lastOf = (rows: number[], count: number) => rows.slice(Math.max(0, rows.length - count));

/** What the -200 of a sample stand for; a text without any has its picture all the same. */
function inputsOf({ ids, clipPixels, inputs }: TrainingSample): readonly VisualInput[] {
  const wanted = ids.filter((id) => id === imagePlaceholder).length;
  const given: readonly VisualInput[] = inputs ?? [{ kind: "image", pixels: clipPixels }];
  if (wanted > given.length || (inputs !== undefined && wanted < given.length)) {
    throw new InputError(
      "BAD_RECORD",
      `Cannot train on a text with ${wanted} image placeholders and ${given.length} images: each needs one; correct the record`,
    );
  }
  return given;
}

/** Token ids that a batch is made with. */
export interface BatchTokens {
  /** `<SEG>`. */
  readonly seg: number;
  /** Padding. */
  readonly pad: number;
}

/**
 * Puts samples together as the official collator does: shorter conversations get padding tokens on the right, and where
 * they still differ after splicing, rows of zeros. Positions count through padding, which is hidden only as keys; but the
 * router of a mixture of experts sees it, and it takes slots.
 *
 * @throws {InputError} code `BAD_RECORD` when a sample has not one image or mask per placeholder.
 */
export function trainingBatch(
  samples: readonly TrainingSample[],
  config: MedplibConfig,
  { seg, pad }: BatchTokens,
): TrainingBatch {
  const inputs = samples.map((sample) => inputsOf(sample));
  const visual = visualStack(inputs.flat(), config);
  const tokens: number[] = [], rows: number[][] = [], labels: number[][] = [];
  const regions: TrainingBatch["regions"][number][] = [];
  const most = Math.max(...samples.map(({ ids }) => ids.length));
  const padded = samples.map(({ ids }) => [
    ...ids,
    ...new Array<number>(most - ids.length).fill(pad),
  ]);
  const textCount = padded.reduce((sum, ids) => sum + ids.filter((id) => id >= 0).length, 0);
  const regionStart = visual.spans.reduce((sum, { length }) => sum + length, textCount);
  const masks: MaskTarget[] = [];
  const segRows: number[][] = [];
  let firstInput = 0, images = 0;
  samples.forEach((sample, b) => {
    const own: number[] = [], ownLabels: number[] = [], ownSegs: number[] = [];
    let input = firstInput;
    firstInput += inputs[b]!.length;
    images += inputs[b]!.filter(({ kind }) => kind === "image").length;
    padded[b]!.forEach((id, i) => {
      if (id === imagePlaceholder) {
        const { start, length } = visual.spans[input++]!;
        for (let row = 0; row < length; row++) {
          own.push(textCount + start + row);
          ownLabels.push(ignoredLabel);
        }
      } else if (id === regionPlaceholder) {
        own.push(regionStart + regions.length);
        ownLabels.push(ignoredLabel);
        regions.push({ sample: b, image: images - 1, cells: sample.cells ?? [] });
      } else {
        if (id === seg) ownSegs.push(own.length - 1);
        own.push(tokens.length);
        ownLabels.push(sample.labels[i] ?? ignoredLabel);
        tokens.push(id);
      }
    });
    rows.push(own);
    labels.push(ownLabels);
    // With examples before it, the answer has the last ones.
    segRows.push(sample.inputs === undefined ? ownSegs : lastOf(ownSegs, sample.masks.length));
  });
  const length = Math.max(...rows.map((own) => own.length));
  const source = new Int32Array(samples.length * length).fill(-1);
  const targetRows: number[] = [], targets: number[] = [];
  const pictures: Float32Array[] = [];
  rows.forEach((own, b) => {
    source.set(own, b * length);
    labels[b]!.forEach((label, row) => {
      if (label === ignoredLabel || row === 0) return;
      targetRows.push(b * length + row - 1);
      targets.push(label);
    });
    const { masks: wanted, samPixels, resized } = samples[b]!;
    if (wanted.length > 0) pictures.push(samPixels!);
    wanted.forEach((mask, m) =>
      masks.push({
        sample: b,
        picture: pictures.length - 1,
        row: b * length + segRows[b]![m]!,
        resized: resized!,
        mask,
      })
    );
  });
  return {
    size: samples.length,
    length,
    tokens: Int32Array.from(tokens),
    source,
    lengths: Uint32Array.from(rows, (own, b) => own.length - (most - samples[b]!.ids.length)),
    targetRows: Int32Array.from(targetRows),
    targets: Int32Array.from(targets),
    visual,
    regions,
    samPixels: joined(pictures),
    masks,
  };
}
