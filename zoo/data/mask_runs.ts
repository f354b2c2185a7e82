/**
 * Masks as run lengths down the columns, zeros first: the form of COCO files, as a list of numbers or as their packed text.
 *
 * @module
 */
import type { Box, Mask } from "@medvlm/core";
import { asList, FieldError, type Fields } from "./fields.ts";

/** A mask as run lengths. */
export interface MaskRuns {
  /** Height and width in pixels. */
  readonly size: readonly [height: number, width: number];
  /** Lengths of runs of 0 and 1 by turns, the first of 0; they add up to height * width. */
  readonly counts: readonly number[];
}

/** Most pixels of a mask, as many as an image may have. */
const maxPixels = 64 * 2 ** 20;

/** Run lengths down the columns, zeros first: the uncompressed masks of COCO files. */
export function runLengths({ width, height, data }: Mask): number[] {
  const counts: number[] = [];
  let value = 0, length = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const next = data[y * width + x] === 0 ? 0 : 1;
      if (next === value) length++;
      else {
        counts.push(length);
        [value, length] = [next, 1];
      }
    }
  }
  counts.push(length);
  return counts;
}

/** The runs that masks of {@linkcode maskOf} were made of. */
const origins = new WeakMap<Mask, MaskRuns>();

/** The run lengths of a mask; for one of {@linkcode maskOf} those it was made of, without looking at its pixels. */
export function toRuns(mask: Mask): MaskRuns {
  return origins.get(mask) ?? { size: [mask.height, mask.width], counts: runLengths(mask) };
}

/**
 * The mask of run lengths. Its pixels are laid out when they are first asked for, so that an example with hundreds of
 * instances takes no more memory than its file as long as nobody looks at them.
 */
export function maskOf(runs: MaskRuns): Mask {
  const { size: [height, width] } = runs;
  let data: Uint8Array | undefined;
  const mask: Mask = {
    width,
    height,
    get data() {
      return data ??= unionOf([runs], runs.size).data;
    },
  };
  origins.set(mask, runs);
  return mask;
}

/** Sets the pixels of a mask to 1 in `target`, row by row, which has its size; other pixels stay. */
export function paintRuns({ size: [height, width], counts }: MaskRuns, target: Uint8Array): void {
  let at = 0;
  counts.forEach((length, index) => {
    if (index % 2 === 1) {
      for (let i = at; i < at + length; i++) {
        const x = Math.floor(i / height);
        target[(i - x * height) * width + x] = 1;
      }
    }
    at += length;
  });
}

/** The smallest box around a mask, in pixels; undefined for an empty one. */
export function boxOfRuns({ size: [height], counts }: MaskRuns): Box | undefined {
  let x0 = Infinity, y0 = Infinity, x1 = 0, y1 = 0, at = 0;
  counts.forEach((length, index) => {
    if (index % 2 === 1 && length > 0) {
      const last = at + length - 1;
      const left = Math.floor(at / height), right = Math.floor(last / height);
      x0 = Math.min(x0, left);
      x1 = Math.max(x1, right + 1);
      // A run that goes on in the next column touches both ends of the image.
      y0 = Math.min(y0, left === right ? at - left * height : 0);
      y1 = Math.max(y1, left === right ? last - left * height + 1 : height);
    }
    at += length;
  });
  return x1 === 0 ? undefined : [x0, y0, x1, y1];
}

/** The union of masks of one size. */
export function unionOf(masks: readonly MaskRuns[], size: MaskRuns["size"]): Mask {
  const [height, width] = size;
  const data = new Uint8Array(height * width);
  for (const mask of masks) paintRuns(mask, data);
  return { width, height, data };
}

/**
 * Unpacks the text form of pycocotools: every count in groups of five bits from the lowest, each as a character from `0`
 * on, 32 added where more follow; counts from the fourth on are differences to the one two before.
 */
function unpackCounts(text: string): number[] {
  const counts: number[] = [];
  for (let at = 0; at < text.length;) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const code = text.charCodeAt(at++) - 48;
      if (!(code >= 0 && code < 64) || shift > 30) throw new FieldError('"counts" is damaged text');
      value += (code & 31) * 2 ** shift;
      shift += 5;
      more = (code & 32) !== 0;
      if (!more && (code & 16) !== 0) value -= 2 ** shift;
    }
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  return counts;
}

/**
 * Checks the size of a mask before anything of that size is made.
 *
 * @throws {FieldError} unless both are whole numbers from 1 on, and their product at most 64 * 2^20.
 */
export function checkMaskSize(width: unknown, height: unknown, what: string): [number, number] {
  if (!isCount(width) || !isCount(height) || width < 1 || height < 1) {
    throw new FieldError(what);
  }
  if (height * width > maxPixels) {
    throw new FieldError(
      `a mask has ${width}x${height} pixels, more than the ${maxPixels} allowed`,
    );
  }
  return [height, width];
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

/**
 * The mask of a record with `size` and `counts`.
 *
 * @throws {FieldError} when the counts do not fill the size.
 */
export function maskRunsOf(fields: Fields): MaskRuns {
  const given = asList(fields.size, '"size"');
  const malformed = '"size" is not [height, width]';
  if (given.length !== 2) throw new FieldError(malformed);
  const size = checkMaskSize(given[1], given[0], malformed);
  const pixels = size[0] * size[1];
  const counts = typeof fields.counts === "string"
    ? unpackCounts(fields.counts)
    : asList(fields.counts, '"counts"') as number[];
  let sum = 0;
  for (const count of counts) {
    if (!isCount(count)) throw new FieldError('"counts" holds something else than whole numbers');
    sum += count;
  }
  if (sum !== pixels) {
    throw new FieldError(
      `the runs of a mask cover ${sum} pixels and its size is ${size[1]}x${size[0]}`,
    );
  }
  return { size, counts };
}
