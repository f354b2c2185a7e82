/**
 * A case as a picture: the image with what is right and what the system answered.
 *
 * @module
 */
import type { Box, Mask, Raster } from "@medvlm/core";
import {
  type Colour,
  drawOverlay,
  emptyRaster,
  encodePng,
  type OverlayItem,
  resizePillow,
  toRgb,
} from "@medvlm/core/image";
import { type MaskRuns, unionOf } from "../data/mask_runs.ts";
import type { NamedBox, NamedMask, Prediction } from "./prediction.ts";

/** Colours of what is right, of the answer, and of what the question points at. */
export const caseColours: Readonly<Record<"truth" | "answer" | "region", Colour>> = {
  truth: [0, 200, 255],
  answer: [255, 196, 0],
  region: [255, 255, 255],
};

/** Longer side of a case's picture in pixels; smaller images grow by whole factors. */
const side = 448;

interface Canvas {
  readonly raster: Raster;
  /** Size of the original image. */
  readonly width: number;
  readonly height: number;
}

/** The picture at the size of a case; a black one where it is missing but its size is known. */
function canvasOf(prediction: Prediction, picture: Raster | undefined): Canvas | undefined {
  const mask = prediction.reference.masks[0] ?? prediction.masks[0];
  const width = picture?.width ?? prediction.width ?? mask?.size[1];
  const height = picture?.height ?? prediction.height ?? mask?.size[0];
  if (width === undefined || height === undefined) return undefined;
  const longer = Math.max(width, height);
  const factor = longer > side ? side / longer : Math.floor(side / longer);
  const size = [width, height].map((one) => Math.max(1, Math.round(one * factor)));
  const raster = picture === undefined
    ? emptyRaster(size[0], size[1], 3)
    : resizePillow(toRgb(picture), size[0], size[1], factor < 1 ? "lanczos" : "nearest");
  return { raster, width, height };
}

/** A mask at the size of the canvas: the nearest pixel of the original. */
function scaledMask(masks: readonly MaskRuns[], { raster: { width, height } }: Canvas): Mask {
  const [rows, columns] = masks[0].size;
  const fitting = masks.filter(({ size }) => size[0] === rows && size[1] === columns);
  const { data: source } = unionOf(fitting, masks[0].size);
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = Math.floor((y + 0.5) * rows / height) * columns;
    for (let x = 0; x < width; x++) {
      data[y * width + x] = source[from + Math.floor((x + 0.5) * columns / width)];
    }
  }
  return { width, height, data };
}

function scaledBox([x0, y0, x1, y1]: Box, { raster, width, height }: Canvas): Box {
  // Boxes far outside would only cost time.
  const place = (value: number, from: number, to: number) =>
    Math.min(2 * to, Math.max(-to, value / from * to));
  return [
    place(x0, width, raster.width),
    place(y0, height, raster.height),
    place(x1, width, raster.width),
    place(y1, height, raster.height),
  ];
}

function items(
  boxes: readonly NamedBox[],
  masks: readonly NamedMask[],
  colour: Colour,
  isNamed: boolean,
  canvas: Canvas,
): OverlayItem[] {
  const named = (label: string) => isNamed && label !== "" ? { label } : {};
  const byLabel = [...Map.groupBy(masks, ({ label }) => label)];
  return [
    ...byLabel.map(([label, members]) => ({
      ...named(label),
      colour,
      mask: scaledMask(members, canvas),
    })),
    ...boxes.map(({ label, box }) => ({ ...named(label), colour, box: scaledBox(box, canvas) })),
  ];
}

function regionItems({ regions = [] }: Prediction, canvas: Canvas): OverlayItem[] {
  return regions.map((region): OverlayItem => {
    const colour = caseColours.region;
    if ("mask" in region) return { colour, mask: scaledMask([region.mask], canvas) };
    if ("box" in region) return { colour, box: scaledBox(region.box, canvas) };
    const [x, y] = scaledBox([...region.point, ...region.point], canvas);
    return { colour, box: [x - 3, y - 3, x + 4, y + 4] };
  });
}

/**
 * The picture of a case as a PNG file, at most 448 pixels long; undefined where there is nothing to show.
 *
 * @param picture The image, where it could be read.
 */
export function casePicture(
  prediction: Prediction,
  picture: Raster | undefined,
): Uint8Array<ArrayBuffer> | undefined {
  const { boxes, masks, reference, regions = [] } = prediction;
  const places = [...boxes, ...masks, ...reference.boxes, ...reference.masks, ...regions];
  if (picture === undefined && places.length === 0) return undefined;
  const canvas = canvasOf(prediction, picture);
  if (canvas === undefined) return undefined;
  const wanted = [...reference.boxes, ...reference.masks].map(({ label }) => label);
  const isNamed = new Set(wanted).size > 1;
  const drawn = drawOverlay(canvas.raster, [
    ...regionItems(prediction, canvas),
    ...items(reference.boxes, reference.masks, caseColours.truth, isNamed, canvas),
    ...items(boxes, masks, caseColours.answer, isNamed, canvas),
  ], { fillOpacity: 0.15, stroke: 2, textScale: 1 });
  return encodePng(withoutNeedlessColour(drawn), { level: 9 });
}

/** One channel where all pixels are grey: a third of the size. */
function withoutNeedlessColour(picture: Raster): Raster {
  const { width, height, data } = picture;
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    const value = data[3 * i];
    if (data[3 * i + 1] !== value || data[3 * i + 2] !== value) return picture;
    grey[i] = value;
  }
  return { width, height, channels: 1, data: grey, bitDepth: 8 };
}
