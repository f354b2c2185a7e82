/**
 * Shapes on the pixel grid of a square picture.
 *
 * Coordinates run from 0 to 1, x to the right of the picture (the patient's left), y downwards; the centre of pixel k is at
 * (k + 0.5) / size.
 *
 * @module
 */
import type { Box, Mask } from "@medvlm/core";

/** A shape as a function of the place: positive inside, about the distance to its edge in sides of the picture. */
export type Shape = (x: number, y: number) => number;

/** From 0 outside to 1 inside, over `width` on either side of the edge. */
export function soft(value: number, width: number): number {
  const t = Math.min(Math.max(value / (2 * width) + 0.5, 0), 1);
  return t * t * (3 - 2 * t);
}

/** Inside an ellipse turned by `angle`. */
export function ellipse(cx: number, cy: number, rx: number, ry: number, angle = 0): Shape {
  const cos = Math.cos(angle), sin = Math.sin(angle), small = Math.min(rx, ry);
  return (x, y) => {
    const u = ((x - cx) * cos + (y - cy) * sin) / rx, v = (-(x - cx) * sin + (y - cy) * cos) / ry;
    return (1 - Math.sqrt(u * u + v * v)) * small;
  };
}

/** How far beyond the edge of a field the shapes that cut it are still computed, in sides of the picture. */
const MARGIN = 0.06;
/** Value where a shape was not computed. */
const OUTSIDE = -1;

/** A shape that was looked at once for every pixel. */
export class Field {
  /** Pixels in a row. */
  readonly size: number;
  /** Value of the shape at every pixel, row by row. */
  readonly values: Float32Array;
  /** Pixels outside of this box are outside of the shape: x0, y0, x1, y1, upper ends exclusive. */
  readonly bounds: Box;

  private constructor(size: number, values: Float32Array, bounds: Box) {
    this.size = size;
    this.values = values;
    this.bounds = bounds;
  }

  /** Looks a shape up. @param within Part of the picture that has all of it. */
  static of(shape: Shape, size: number, within: Box = [0, 0, 1, 1]): Field {
    const bounds = pixels(within, size), values = new Float32Array(size * size);
    if (bounds[2] - bounds[0] < size || bounds[3] - bounds[1] < size) values.fill(OUTSIDE);
    for (let j = bounds[1]; j < bounds[3]; j++) {
      const y = (j + 0.5) / size;
      for (let k = bounds[0], i = j * size + k; k < bounds[2]; k++, i++) {
        values[i] = shape((k + 0.5) / size, y);
      }
    }
    return new Field(size, values, bounds);
  }

  /** What lies in this field and in the shape. @param within Part of the picture that has all of the shape. */
  cut(shape: Shape, within: Box = [0, 0, 1, 1]): Field {
    const { size, values: own } = this, values = new Float32Array(size * size).fill(OUTSIDE);
    const [left, top, right, bottom] = pixels(within, size);
    let x0 = size, y0 = size, x1 = 0, y1 = 0;
    for (let j = top; j < bottom; j++) {
      const y = (j + 0.5) / size;
      for (let k = left, i = j * size + k; k < right; k++, i++) {
        const here = own[i];
        if (here < -MARGIN) {
          values[i] = here;
          continue;
        }
        const value = Math.min(here, shape((k + 0.5) / size, y));
        values[i] = value;
        if (value < -MARGIN) continue;
        if (k < x0) x0 = k;
        if (k >= x1) x1 = k + 1;
        if (j < y0) y0 = j;
        if (j >= y1) y1 = j + 1;
      }
    }
    return new Field(size, values, [Math.min(x0, x1), Math.min(y0, y1), x1, y1]);
  }

  /** What lies in this field and not in another of the same size. */
  without(other: Field): Field {
    const values = new Float32Array(this.values.length);
    for (let i = 0; i < values.length; i++) {
      values[i] = Math.min(this.values[i], -other.values[i]);
    }
    return new Field(this.size, values, this.bounds);
  }

  /** Value at the pixel of a place in the picture. */
  at(x: number, y: number): number {
    const { size } = this, last = size - 1;
    const k = Math.min(Math.max(Math.floor(x * size), 0), last);
    const j = Math.min(Math.max(Math.floor(y * size), 0), last);
    return this.values[j * size + k];
  }

  /** Pixels whose centre is inside. */
  mask(): Mask {
    const { size, values } = this, data = new Uint8Array(values.length);
    for (let i = 0; i < data.length; i++) data[i] = values[i] > 0 ? 1 : 0;
    return { width: size, height: size, data };
  }
}

/** The pixels of a part of the picture. */
function pixels([x0, y0, x1, y1]: Box, size: number): [number, number, number, number] {
  const low = (value: number) => Math.min(Math.max(Math.floor(value * size), 0), size);
  const high = (value: number) => Math.min(Math.max(Math.ceil(value * size), 0), size);
  return [low(x0), low(y0), high(x1), high(y1)];
}

/** Tight box of a mask, or undefined when it is empty. */
export function maskBox({ width, height, data }: Mask): Box | undefined {
  let x0 = width, y0 = height, x1 = 0, y1 = 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (data[i] === 0) continue;
      if (x < x0) x0 = x;
      if (x >= x1) x1 = x + 1;
      if (y < y0) y0 = y;
      y1 = y + 1;
    }
  }
  return x1 > x0 ? [x0, y0, x1, y1] : undefined;
}
