/**
 * Pretraining of a CLIP vision tower by its published objective, image-report contrast, on chest phantoms (Radford et al.,
 * 2021). The text tower, the projections and the temperature serve this training alone.
 *
 * @module
 */
import {
  type ClipContrastConfig,
  clipImageEmbedding,
  clipLoss,
  clipTextEmbedding,
  type ClipTexts,
  clipTexts,
  type ClipVisionConfig,
  type Parameters,
} from "@medvlm/core/nn";
import { tensor } from "@medvlm/core/tensor";
import {
  decayGroups,
  decaysLinearWeights,
  type ParameterGroup,
  type TrainingTask,
} from "@medvlm/core/train";
import { chestReport } from "../phantoms/chest_report.ts";
import { Random } from "../phantoms/random.ts";
import { greySquare, normalisedSquares, type SquareInput } from "./pictures.ts";
import { phantomPool, type PhantomSource, type Pool, stepRandom } from "./pool.ts";

/** A CLIP of two towers: the vision tower of a plugin, and what only its pretraining needs. */
export interface ClipModel {
  /** Holds the vision tower, all its names starting with `visionPrefix`. */
  readonly vision: Parameters;
  /** Prefix of the tower's names, which ends in `vision_model.`. */
  readonly visionPrefix: string;
  /** Sizes of the vision tower. */
  readonly visionConfig: ClipVisionConfig;
  /** Parameters of `clipContrastParameters` without prefix. */
  readonly contrast: Parameters;
  /** Sizes of the text tower and the common space. */
  readonly contrastConfig: ClipContrastConfig;
  /** How the vision tower wants its pictures. */
  readonly input: SquareInput;
  /** Token ids of a text with start and end token. */
  readonly tokenise: (text: string) => readonly number[];
}

/** What is kept of a phantom: the picture and several wordings of its findings. */
export interface ReportedPicture {
  /** Grey, at the side of the vision tower's input. */
  readonly picture: Uint8Array;
  /** Token ids of the findings in several wordings. */
  readonly wordings: readonly (readonly number[])[];
  /** Kinds of finding that it shows, sorted. */
  readonly labels: readonly string[];
}

/** Pictures and the reports that belong to them. */
export interface ClipBatch {
  /** Normalised [B, 3, S, S]. */
  readonly pixels: Float32Array<ArrayBuffer>;
  /** One text per picture. */
  readonly texts: ClipTexts;
}

/** How a tower is pretrained. */
export interface ClipTaskOptions {
  /** Phantoms to draw from. */
  readonly source: PhantomSource;
  /** Pairs per step: each picture is told from the reports of all others. */
  readonly batch: number;
  /** Of the draws of pictures and wordings. */
  readonly seed: number;
  /** Wordings kept of each report. Default 4. */
  readonly wordings?: number;
  /** Decay of matrices. Default 0.1. */
  readonly weightDecay?: number;
}

/** Marks the draws of wordings, and those of batches. */
const WORDING_DRAWS = 0x776f7264, BATCH_DRAWS = 0x636c6970;

/** Phantoms with their findings in words, for training and for {@linkcode probeClip}. */
export function reportedPictures(
  { input, tokenise }: Pick<ClipModel, "input" | "tokenise">,
  source: PhantomSource,
  wordings = 4,
): Pool<ReportedPicture> {
  return phantomPool(source, (phantom) => {
    const random = new Random(phantom.seed, phantom.index, WORDING_DRAWS);
    return {
      picture: greySquare(phantom.image, input.side),
      wordings: Array.from(
        { length: wordings },
        () => tokenise(chestReport(phantom, random).findings.text),
      ),
      labels: [...new Set(phantom.findings.map(({ label }) => label))].sort(),
    };
  });
}

/** All parameters of both towers; matrices decay. */
export function clipGroups(
  { vision, visionPrefix, contrast }: ClipModel,
  weightDecay: number,
): ParameterGroup[] {
  const named = (parameters: Parameters, prefix: string) =>
    parameters.specs.filter(({ name }) => name.startsWith(prefix))
      .map(({ name }) => ({ name, value: parameters.value(name) }));
  return decayGroups(
    [...named(vision, visionPrefix), ...named(contrast, "")],
    decaysLinearWeights,
    weightDecay,
  );
}

/** A batch of pictures with one wording of their reports each. */
export function clipBatch(
  { input, contrastConfig }: Pick<ClipModel, "input" | "contrastConfig">,
  pictures: readonly ReportedPicture[],
  wording: (picture: ReportedPicture) => readonly number[],
): ClipBatch {
  return {
    pixels: normalisedSquares(pictures.map(({ picture }) => picture), input),
    texts: clipTexts(pictures.map(wording), contrastConfig.text),
  };
}

/** The contrast of a tower's pictures with their reports as a task for a trainer. */
export function clipTask(
  model: ClipModel,
  { source, batch, seed, wordings = 4, weightDecay = 0.1 }: ClipTaskOptions,
): TrainingTask<ClipBatch> {
  const pool = reportedPictures(model, source, wordings);
  const { visionConfig, contrastConfig } = model;
  const vision = model.vision.at(model.visionPrefix), contrast = model.contrast.at("");
  return {
    parameters: clipGroups(model, weightDecay),
    batches(step) {
      const random = stepRandom(seed, step, BATCH_DRAWS);
      const pictures = pool.draw(random, batch);
      return Promise.resolve([
        clipBatch(model, pictures, ({ wordings }) => random.pick(wordings)),
      ]);
    },
    loss({ pixels, texts }) {
      const { device } = model.vision;
      const { side } = model.input;
      const images = tensor(device, pixels, [texts.ends.length, 3, side, side]);
      const total = clipLoss(
        contrast,
        clipImageEmbedding(vision, contrast, images, visionConfig),
        clipTextEmbedding(contrast, texts, contrastConfig.text),
      );
      return { total };
    },
    tokens: ({ texts }) => texts.ends.reduce((sum, end) => sum + end + 1, 0),
  };
}
