/**
 * Findings drawn over a picture: boxes, masks and labels, legible on grey X-rays.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import {
  type Colour,
  drawText,
  fillMask,
  maskExtent,
  outlineMask,
  type Rectangle,
  strokeRectangle,
  textSize,
} from "./canvas.ts";
import { printable } from "./font.ts";
import { type LabelRequest, placeLabels } from "./label_placement.ts";
import { type Raster, type Raster8, toRgb } from "./raster.ts";

/** Light, saturated and apart from each other, so that they stand out from any grey; repeated after the last. */
export const OVERLAY_COLOURS: readonly Colour[] = [
  [255, 196, 0],
  [0, 200, 255],
  [255, 92, 138],
  [118, 232, 80],
  [186, 140, 255],
  [255, 138, 48],
  [64, 240, 200],
  [240, 120, 240],
  [120, 160, 255],
  [255, 240, 130],
];

/** One thing to draw. It may have a box, a mask or both; the label names it. */
export interface OverlayItem {
  /** Text beside it; accents are dropped and other characters outside ASCII become question marks. */
  readonly label?: string;
  /** Colour; the next of the palette when left out. */
  readonly colour?: Colour;
  /** `[x0, y0, x1, y1]` in pixels, right and lower edges exclusive; parts outside the picture are not drawn. */
  readonly box?: readonly [number, number, number, number];
  /** Mask at the size of the picture: 0 outside, anything else inside. */
  readonly mask?: { readonly width: number; readonly height: number; readonly data: Uint8Array };
}

/** How to draw. */
export interface OverlayOptions {
  /** Opacity of the inside of masks, 0 .. 1; 0.2 when left out. */
  readonly fillOpacity?: number;
  /** Thickness of lines in pixels; grows with the picture when left out. */
  readonly stroke?: number;
  /** Picture pixels of a font pixel; grows with the picture when left out. */
  readonly textScale?: number;
}

function boxRectangle(box: readonly [number, number, number, number]): Rectangle {
  const x = Math.floor(box[0]), y = Math.floor(box[1]);
  const width = Math.max(1, Math.ceil(box[2]) - x), height = Math.max(1, Math.ceil(box[3]) - y);
  return { x, y, width, height };
}

/** The label cut to the width of the picture. */
function fit(label: string, width: number, scale: number): string {
  const text = printable(label);
  if (textSize(text, scale).width <= width) return text;
  let length = text.length;
  while (length > 1 && textSize(`${text.slice(0, length)}..`, scale).width > width) length--;
  return `${text.slice(0, length)}..`;
}

/** Labels of boxes go to their edge, those of masks to where the mask is widest if it has room; nothing to name, no label. */
function labelRequest(
  { box, mask }: OverlayItem,
  size: LabelRequest["size"],
  width: number,
  height: number,
): LabelRequest | undefined {
  if (box) return { size, target: boxRectangle(box) };
  const extent = mask && maskExtent(mask.data, width, height);
  return extent && { size, target: extent.bounds, centre: extent.deepest };
}

function checkItem(item: OverlayItem, image: Raster): void {
  const { mask, box } = item;
  const name = item.label === undefined ? "an item" : `"${item.label}"`;
  if (
    mask &&
    (mask.width !== image.width || mask.height !== image.height ||
      mask.data.length !== image.width * image.height)
  ) {
    throw new InputError(
      "BAD_SIZE",
      `Cannot draw the mask of ${name}: it is ${mask.width}x${mask.height} and the picture ${image.width}x${image.height}; resize the mask`,
    );
  }
  if (box && !box.every(Number.isFinite)) {
    throw new InputError(
      "BAD_BOX",
      `Cannot draw the box of ${name}: [${box.join(", ")}] are not four finite numbers`,
    );
  }
}

/**
 * Draws items over a picture: all fills, then all outlines, all boxes and all labels, so that nothing
 * hides a line or a label. Lines and
 * text grow with the picture. The input is not changed.
 *
 * @param image Any picture; deep samples are scaled to 8 bits and grey becomes RGB.
 * @returns An RGB picture of the same size.
 * @throws {InputError} code `BAD_SIZE` for masks of another size, `BAD_BOX` for boxes that are no numbers.
 */
export function drawOverlay(
  image: Raster,
  items: readonly OverlayItem[],
  options: OverlayOptions = {},
): Raster8 {
  const { width, height } = image;
  const side = Math.min(width, height);
  const {
    fillOpacity = 0.2,
    stroke = Math.max(1, Math.round(side / 350)),
    textScale = Math.max(1, Math.round(side / 300)),
  } = options;
  const rgb = toRgb(image);
  const out: Raster8 = { ...rgb, data: new Uint8Array(rgb.data) };
  const colour = (item: OverlayItem, index: number) =>
    item.colour ?? OVERLAY_COLOURS[index % OVERLAY_COLOURS.length];

  for (const item of items) checkItem(item, image);
  for (const [index, item] of items.entries()) {
    if (item.mask) fillMask(out, item.mask.data, colour(item, index), fillOpacity);
  }
  for (const [index, item] of items.entries()) {
    if (item.mask) outlineMask(out, item.mask.data, colour(item, index), stroke);
  }
  for (const [index, item] of items.entries()) {
    if (item.box) strokeRectangle(out, boxRectangle(item.box), stroke, colour(item, index));
  }

  const labels: { text: string; colour: Colour; request: LabelRequest }[] = [];
  for (const [index, item] of items.entries()) {
    if (!item.label) continue;
    const text = fit(item.label, width, textScale);
    const request = labelRequest(item, textSize(text, textScale), width, height);
    if (!request) continue;
    labels.push({ text, colour: colour(item, index), request });
  }
  const places = placeLabels(labels.map((label) => label.request), width, height);
  for (const [index, { text, colour }] of labels.entries()) {
    drawText(out, text, places[index].x, places[index].y, textScale, colour);
  }
  return out;
}
