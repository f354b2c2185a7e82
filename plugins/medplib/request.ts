/**
 * From a user's request to what the model takes: token ids, pixels, region cells.
 *
 * @module
 */
import { InputError, type Raster, type Request } from "@medvlm/core";
import type { LlamaTokenizer } from "@medvlm/core/text";
import type { MedplibConfig } from "./config.ts";
import type { VisualInput } from "./icl.ts";
import type { Size } from "./postprocess.ts";
import { clipInput, regionGrid, regionMask, samInput } from "./preprocess.ts";
import { encodeMedplibPrompt, medplibPrompt } from "./prompt.ts";
import { regionCells } from "./region.ts";

/** A request ready for the device. */
export interface PreparedRequest {
  /** Token ids, with -200 for the image and -300 for a region. */
  readonly ids: readonly number[];
  /** Input of the vision tower [3, S, S]: the picture that is asked about. */
  readonly clipPixels: Float32Array<ArrayBuffer>;
  /** What each -200 stands for, in order. Default: `clipPixels` alone. */
  readonly inputs?: readonly VisualInput[];
  /** Input of the pixel encoder [3, S, S]. */
  readonly samPixels: Float32Array<ArrayBuffer>;
  /** Size of the picture inside the pixel encoder's padded input. */
  readonly resized: Size;
  /** Size of the picture. */
  readonly original: Size;
  /** Row and column of the grid cells of the region. */
  readonly cells?: readonly (readonly [number, number])[];
  /** A mask is wanted whether the answer has `<SEG>` or not. */
  readonly alwaysMask: boolean;
  /** What the mask is of, for display. */
  readonly label: string;
}

/** Questions of this kind are grounding questions: the published evaluation gives each of them a mask. */
const asksForMask = /\b(segment|delineate|outline|mask)\b/i;
const regionTag = "<region></region>";
const labelLength = 60;

/** Words of a prompt that name what a mask is of, at most 60 characters. */
export function shortLabel(prompt: string): string {
  return prompt.length > labelLength ? `${prompt.slice(0, labelLength - 1)}…` : prompt;
}

/** The inputs of both encoders for the picture that is asked about. */
export function pictureInputs(
  image: Raster,
  { clip, sam }: MedplibConfig,
): Pick<PreparedRequest, "clipPixels" | "samPixels" | "resized" | "original"> {
  const pixels = samInput(image, sam.imageSize);
  return {
    clipPixels: clipInput(image, clip.imageSize).data,
    samPixels: pixels.data,
    resized: pixels.resized,
    original: { width: image.width, height: image.height },
  };
}

/**
 * Prepares a request.
 *
 * A region without `<region></region>` in the prompt is put at the end of the question, before its closing mark.
 *
 * @throws {InputError} code `EMPTY_PROMPT`, `TOO_MANY_REGIONS`, `NO_REGION`, `REGION_OUTSIDE`, `UNSUPPORTED_TASK`.
 */
export function prepareRequest(
  request: Request,
  tokenizer: LlamaTokenizer,
  config: MedplibConfig,
): PreparedRequest {
  const { image, regions = [], task } = request;
  const prompt = request.prompt.trim();
  if (prompt === "") {
    throw new InputError(
      "EMPTY_PROMPT",
      "Cannot answer an empty prompt: ask a question with --prompt",
    );
  }
  if (regions.length > 1) {
    throw new InputError(
      "TOO_MANY_REGIONS",
      `Cannot use ${regions.length} regions: MedPLIB takes one per question`,
    );
  }
  const named = /<region>\s*<\/region>/.test(prompt);
  const [region] = regions;
  if (region === undefined && (named || task === "region-vqa")) {
    throw new InputError("NO_REGION", "Cannot answer about a region: none was given; add --region");
  }
  const question = region !== undefined && !named
    ? prompt.replace(/\s*([?.!]?)$/, ` ${regionTag}$1`)
    : prompt;
  const { imageSize, patchSize } = config.clip;
  const ids = encodeMedplibPrompt(
    tokenizer,
    medplibPrompt({ question, history: request.history ?? [] }),
  );
  return {
    ids,
    ...pictureInputs(image, config),
    ...(region === undefined ? {} : {
      cells: regionCells(
        regionGrid(regionMask(region, image.width, image.height), imageSize, patchSize),
        config.maxRegionPoints,
        0,
      ),
    }),
    alwaysMask: task === "ground-mask" || (task === undefined && asksForMask.test(prompt)),
    label: shortLabel(prompt),
  };
}
