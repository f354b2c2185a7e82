/**
 * What is asked of a promptable model in training: a thing of a picture, and a box or points that mean it.
 *
 * @module
 */
import type { Box, Mask } from "@medvlm/core";
import type { PromptPoint, SamPrompt } from "@medvlm/core/nn";
import type { Random } from "../phantoms/random.ts";
import type { Thing } from "../phantoms/mod.ts";

/** The form that all prompts of a batch have. */
export interface PromptForm {
  /** A box; otherwise points. */
  readonly box: boolean;
  /** Points on the thing. */
  readonly inside: number;
  /** Points beside it. */
  readonly outside: number;
}

/** Boxes are off by this share of their sides on average, as in SAM (appendix A), */
const boxNoise = 0.1;
/** but by no more than this share of the picture. */
const mostNoise = 20 / 1024;

/** A box in this share of the steps, else one to three points, in half of these with one beside the thing. */
export function drawForm(random: Random, boxShare: number): PromptForm {
  if (random.chance(boxShare)) return { box: true, inside: 0, outside: 0 };
  return { box: false, inside: random.whole(1, 3), outside: random.chance(0.5) ? 1 : 0 };
}

/**
 * A thing of a picture: a finding with the given probability, if it has any, each kind as likely as the others, so that many
 * nodules do not crowd out the rest.
 */
export function drawThing<T extends Pick<Thing, "label">>(
  structures: readonly T[],
  findings: readonly T[],
  findingShare: number,
  random: Random,
): T {
  const wantsFinding = random.chance(findingShare);
  const from = findings.length > 0 && (wantsFinding || structures.length === 0)
    ? findings
    : structures;
  const label = random.pick([...new Set(from.map((thing) => thing.label))]);
  return random.pick(from.filter((thing) => thing.label === label));
}

/** Centre of a pixel of the picture in pixels of the encoder's input, as SAM counts them: centres are whole numbers. */
function inInput(pixel: number, scale: number): number {
  return (pixel + 0.5) * scale - 0.5;
}

/**
 * A tight box as a prompt, in pixels of an input of `side`: from the first to the last pixel of the thing.
 *
 * @param size Side of the picture that the box belongs to.
 * @param random Moves the edges; none: the exact box.
 */
export function boxPrompt(
  [x0, y0, x1, y1]: Box,
  size: number,
  side: number,
  random?: Random,
): [number, number, number, number] {
  const scale = side / size;
  const moved = (pixel: number, extent: number) => {
    const limit = mostNoise * side;
    const noise = (random?.normal() ?? 0) * boxNoise * extent * scale;
    const at = inInput(pixel, scale) + Math.min(Math.max(noise, -limit), limit);
    return Math.min(Math.max(at, 0), side - 1);
  };
  const width = x1 - x0, height = y1 - y0;
  const left = moved(x0, width), top = moved(y0, height);
  const right = moved(x1 - 1, width), bottom = moved(y1 - 1, height);
  return [
    Math.min(left, right),
    Math.min(top, bottom),
    Math.max(left, right),
    Math.max(top, bottom),
  ];
}

/** A pixel of the mask within a window that has the value; the window has at least one. */
function drawPixel(
  { width, data }: Mask,
  [x0, y0, x1, y1]: Box,
  value: 0 | 1,
  random: Random,
): [x: number, y: number] | undefined {
  const found: [number, number][] = [];
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      if ((data[y * width + x] !== 0) === (value === 1)) found.push([x, y]);
    }
  }
  return found.length === 0 ? undefined : random.pick(found);
}

/** A box around another, half its sides away, inside the picture. */
function around([x0, y0, x1, y1]: Box, size: number): Box {
  const dx = Math.ceil((x1 - x0) / 2), dy = Math.ceil((y1 - y0) / 2);
  return [
    Math.max(0, x0 - dx),
    Math.max(0, y0 - dy),
    Math.min(size, x1 + dx),
    Math.min(size, y1 + dy),
  ];
}

/**
 * A prompt of the given form for a thing, in pixels of an input of `side`.
 *
 * @param thing With a mask of a square picture that is neither empty nor full.
 */
export function drawPrompt(
  { mask, box }: Pick<Thing, "mask" | "box">,
  form: PromptForm,
  side: number,
  random: Random,
): SamPrompt {
  const size = mask.width, scale = side / size;
  const points: PromptPoint[] = [];
  const add = (pixel: [number, number], inside: boolean) => {
    points.push({ x: inInput(pixel[0], scale), y: inInput(pixel[1], scale), inside });
  };
  for (let n = 0; n < form.inside; n++) add(drawPixel(mask, box, 1, random)!, true);
  for (let n = 0; n < form.outside; n++) {
    const near = drawPixel(mask, around(box, size), 0, random);
    add(near ?? drawPixel(mask, [0, 0, size, size], 0, random)!, false);
  }
  return form.box ? { points, box: boxPrompt(box, size, side, random) } : { points };
}
