/**
 * In-context segmentation (MedPLIB-ICL, official `datasets/ICLLazySupervisedDataset.py`): pictures with a mask each show
 * what to segment in another picture.
 *
 * The official dataset builds the same inputs but keeps one `<image>` of the text, so that only the first example is seen;
 * here every image and mask has its own `<im_start><image><im_end>`.
 *
 * @module
 */
import { InputError, type Mask, type Raster } from "@medvlm/core";
import { padCentred, raster, type Raster8, toRgb } from "@medvlm/core/image";
import type { LlamaTokenizer } from "@medvlm/core/text";
import type { MedplibConfig } from "./config.ts";
import type { VisualInput } from "./icl.ts";
import { clipInput, resizeLongestSide } from "./preprocess.ts";
import { encodeMedplibPrompt, medplibPrompt } from "./prompt.ts";
import { pictureInputs, type PreparedRequest, shortLabel } from "./request.ts";

/** A picture and what is segmented in it. */
export interface InContextExample {
  /** The picture at its original size. */
  readonly image: Raster;
  /** What is not 0 is inside; of another size than the picture, it is fitted by nearest neighbours. */
  readonly mask: Mask;
}

/** `overlay`: the mask is blended over its picture. `separate`: picture and mask are two inputs. */
export type ExampleMode = "overlay" | "separate";

/** A request with examples. */
export interface InContextRequest {
  /** The picture to segment. */
  readonly image: Raster;
  /** One to three examples. */
  readonly examples: readonly InContextExample[];
  /**
   * What to do, in words: with one `<image>` for every input, examples first, where the words say where they go; without any,
   * as the last sentence of a text that shows the examples. Default: to segment what the examples show.
   */
  readonly prompt?: string;
  /** How masks are shown. Default `overlay`. */
  readonly mode?: ExampleMode;
}

/** Most examples of a request. */
export const mostExamples = 3;

const overlayColour: readonly number[] = [118, 158, 224];
/** Shares of the picture and of the colour. */
const [ownShare, colourShare] = [0.45, 0.55].map(Math.fround) as [number, number];

/** The mask with 0 and 1, at the size of the picture: cell i comes from floor(i * from / to). */
function fitMask({ width, height, data }: Mask, image: Raster): Mask {
  const fitted = new Uint8Array(image.width * image.height);
  for (let y = 0, to = 0; y < image.height; y++) {
    const row = Math.min(height - 1, Math.floor(y * (height / image.height)));
    for (let x = 0; x < image.width; x++, to++) {
      const column = Math.min(width - 1, Math.floor(x * (width / image.width)));
      fitted[to] = data[row * width + column] === 0 ? 0 : 1;
    }
  }
  return { width: image.width, height: image.height, data: fitted };
}

/**
 * A picture with its mask blended over it: 0.45 of the pixel and 0.55 of a light blue, in float32, cut to whole numbers.
 *
 * @param mask At the size of the picture.
 */
export function overlayMask(image: Raster, mask: Mask): Raster8 {
  const { data, ...rest } = toRgb(image);
  const blended = data.slice();
  const light = overlayColour.map((value) => Math.fround(value * colourShare));
  mask.data.forEach((inside, i) => {
    if (inside === 0) return;
    for (let c = 0; c < 3; c++) {
      const at = 3 * i + c;
      blended[at] = Math.trunc(Math.fround(Math.fround(data[at]! * ownShare) + light[c]!));
    }
  });
  return { ...rest, data: blended };
}

/**
 * The mask encoder's input [side, side]: resized as a picture of 0 and 255, then everything that is not black is inside, so
 * that thin masks stay; zeros as padding, centred.
 */
export function encoderMask(mask: Mask, side: number): Float32Array<ArrayBuffer> {
  const grey = Uint8Array.from(mask.data, (value) => value === 0 ? 0 : 255);
  const resized = resizeLongestSide(raster(mask.width, mask.height, 1, grey), side);
  return Float32Array.from(padCentred(resized, side, side, [0]).data, (value) => value > 0 ? 1 : 0);
}

/** A mask as a picture: white inside, black outside. */
function maskPicture({ width, height, data }: Mask): Raster {
  const rgb = new Uint8Array(3 * data.length);
  data.forEach((inside, i) => rgb.fill(inside === 0 ? 0 : 255, 3 * i, 3 * i + 3));
  return raster(width, height, 3, rgb);
}

/** What an example becomes: one input with its mask blended over it, or two. */
export function exampleInputs(
  { image, mask }: InContextExample,
  config: MedplibConfig,
  mode: ExampleMode,
): VisualInput[] {
  const side = config.clip.imageSize;
  const fitted = fitMask(mask, image);
  const picture = (shown: Raster): VisualInput => ({
    kind: "image",
    pixels: clipInput(shown, side).data,
  });
  if (mode === "overlay") return [picture(overlayMask(image, fitted))];
  return [
    picture(image),
    config.maskTokens === undefined
      ? picture(maskPicture(fitted))
      : { kind: "mask", plane: encoderMask(fitted, side) },
  ];
}

const defaultTask = "Segment in this image what the examples show.";

/**
 * The question of a request with examples, one `<image>` for every input.
 *
 * @param examples Number of examples.
 * @param task As {@linkcode InContextRequest.prompt}.
 * @throws {InputError} code `BAD_PROMPT` when the text has other than one `<image>` per input, or none.
 */
export function inContextQuestion(
  examples: number,
  mode: ExampleMode,
  task: string = defaultTask,
): string {
  const own = task.split("<image>").length - 1;
  const wanted = (mode === "overlay" ? examples : 2 * examples) + 1;
  if (own > 0) {
    if (own === wanted) return task;
    throw new InputError(
      "BAD_PROMPT",
      `Cannot use a prompt with ${own} <image> for ${wanted} inputs: each image and mask needs one, or leave them all out`,
    );
  }
  const shown = Array.from(
    { length: examples },
    (_, i) =>
      mode === "overlay"
        ? `Example ${i + 1}: <image>\nIts mask is drawn over it in blue.`
        : `Example ${i + 1}, image: <image>\nExample ${i + 1}, mask: <image>`,
  );
  return [...shown, `Query: <image>\n${task}`].join("\n");
}

/**
 * Prepares a request with examples; `MedplibModel.run` answers it with a mask of the picture.
 *
 * @throws {InputError} code `BAD_EXAMPLES` for other than one to three examples or an empty mask, `BAD_PROMPT`.
 */
export function prepareInContext(
  { image, examples, prompt, mode = "overlay" }: InContextRequest,
  tokenizer: LlamaTokenizer,
  config: MedplibConfig,
): PreparedRequest {
  if (examples.length < 1 || examples.length > mostExamples) {
    throw new InputError(
      "BAD_EXAMPLES",
      `Cannot use ${examples.length} examples: give 1 to ${mostExamples}`,
    );
  }
  const empty = examples.findIndex(({ mask }) => !mask.data.some((value) => value !== 0));
  if (empty >= 0) {
    throw new InputError(
      "BAD_EXAMPLES",
      `Cannot use example ${empty + 1}: its mask is empty; give one that shows something`,
    );
  }
  const task = prompt?.trim() || undefined;
  const question = inContextQuestion(examples.length, mode, task);
  const picture = pictureInputs(image, config);
  return {
    ids: encodeMedplibPrompt(tokenizer, medplibPrompt({ question, placement: "in-place" })),
    ...picture,
    inputs: [
      ...examples.flatMap((example) => exampleInputs(example, config, mode)),
      { kind: "image", pixels: picture.clipPixels },
    ],
    alwaysMask: true,
    label: shortLabel(task ?? defaultTask),
  };
}
