/**
 * The anatomy of a chest radiograph phantom: lungs, heart, aorta and mediastinum as fields (see `field.ts`), which give soft
 * edges for drawing and exact masks.
 *
 * @module
 */
import { ellipse, Field, type Shape } from "./field.ts";
import { Noise, type Random } from "./random.ts";

/** The patient's side. The patient's right is at the left of the picture. */
export type Side = "right" | "left";

/** What differs from patient to patient. */
export interface Chest {
  /** Pixels in a row of the picture. */
  readonly size: number;
  readonly random: Random;
  readonly noise: Noise;
  readonly sex: "F" | "M";
  /** Middle line. */
  readonly centre: number;
  /** Half the width of the rib cage. */
  readonly halfWidth: number;
  /** Height of the lung apices. */
  readonly apex: number;
  /** Height of the domes of the diaphragm; the patient's right one is higher. */
  readonly dome: Readonly<Record<Side, number>>;
  /** Height of the diaphragm in every column of pixels. */
  readonly floor: Float64Array;
  /** Half the width of neck, shoulders and trunk in every row of pixels. */
  readonly outline: Float64Array;
  /** Heart width over rib cage width. */
  readonly cardiothoracic: number;
  /** Radius of the aortic knob. */
  readonly knob: number;
  readonly heart: Field;
  readonly aorta: Field;
  readonly mediastinum: Field;
  readonly lung: Readonly<Record<Side, Field>>;
}

/** What findings ask of the anatomy. */
export interface ChestTraits {
  readonly cardiomegaly: boolean;
  readonly aorticEnlargement: boolean;
}

/** Sign of a side in x. */
export function sideSign(side: Side): 1 | -1 {
  return side === "left" ? 1 : -1;
}

/** Smooth interpolation of values at equally spaced places of [0, 1] (Catmull-Rom). */
function curve(values: readonly number[], t: number): number {
  const last = values.length - 1;
  const at = Math.min(Math.max(t, 0), 1) * last;
  const i = Math.min(Math.floor(at), last - 1), u = at - i;
  const a = values[Math.max(i - 1, 0)], b = values[i];
  const c = values[i + 1], d = values[Math.min(i + 2, last)];
  return b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)));
}

/** Lateral and medial borders of a lung from apex to base, in half widths of the rib cage. */
const lateralBorder = [0.34, 0.64, 0.78, 0.87, 0.93, 0.97, 0.985, 0.98];
const medialBorder = [0.15, 0.13, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18];

/** Where the wall of the chest is, in half widths of the rib cage, at a share of the way from apex to base. */
export function wallAt(share: number): number {
  return curve(lateralBorder, share);
}

/** How far below its dome the diaphragm is, at a distance from the middle in half widths of the rib cage. */
function domeDrop(u: number): number {
  const lateral = Math.min(1, Math.max(0, u - 0.42) / 0.55), medial = Math.max(0, 0.42 - u) / 0.42;
  return 0.105 * lateral ** 2.4 + 0.035 * medial ** 2;
}

/** One value per pixel of a row or column; the function gets the place of its centre. */
function perPixel(size: number, value: (place: number) => number): Float64Array {
  return Float64Array.from({ length: size }, (_, n) => value((n + 0.5) / size));
}

/** Draws a patient. */
export function makeChest(random: Random, traits: ChestTraits, size: number): Chest {
  const noise = new Noise(random);
  const sex = random.chance(0.5) ? "F" : "M";
  const centre = 0.5 + random.uniform(-0.03, 0.03);
  const halfWidth = random.uniform(0.345, 0.41);
  const apex = random.uniform(0.06, 0.13);
  const right = random.uniform(0.68, 0.78);
  const dome = { right, left: right + random.uniform(0.015, 0.04) };
  const cardiothoracic = traits.cardiomegaly
    ? random.uniform(0.57, 0.68)
    : random.uniform(0.4, 0.48);
  const knob = traits.aorticEnlargement
    ? random.uniform(0.062, 0.078)
    : random.uniform(0.032, 0.04);
  const floor = perPixel(size, (x) => {
    const share = Math.min(Math.max(0.5 + (x - centre) / 0.16, 0), 1);
    const height = dome.right + (dome.left - dome.right) * share * share * (3 - 2 * share);
    return height + domeDrop(Math.abs(x - centre) / halfWidth);
  });

  const heartWidth = cardiothoracic * halfWidth;
  const heartY = (dome.right + dome.left) / 2 - 0.085 - 0.05 * (cardiothoracic - 0.44);
  const ventricles = ellipse(
    centre + 0.25 * heartWidth,
    heartY,
    heartWidth * 0.98,
    0.12 + 0.13 * (cardiothoracic - 0.4),
    0.55,
  );
  // The vessels above narrow the silhouette towards the arch.
  const base = ellipse(centre + 0.03, heartY - 0.12, 0.4 * heartWidth + 0.012, 0.12);
  const heartFloor = Math.min(dome.right, dome.left) + 0.045;
  const heart = Field.of(
    (x, y) => {
      const a = ventricles(x, y), b = base(x, y);
      // Smooth union, so that the waist has no notch.
      const h = Math.min(Math.max(0.5 + (a - b) / 0.08, 0), 1);
      const value = b + (a - b) * h + 0.04 * h * (1 - h);
      const below = heartFloor + 0.05 * Math.abs(x - centre) - y;
      // Only the border is uneven; what is far from it needs no noise.
      const even = Math.abs(value) > 0.06;
      return Math.min(even ? value : value + 0.004 * noise.value(x, y, 7, 2), below);
    },
    size,
    [centre - 0.35, heartY - 0.34, centre + 0.42, heartFloor + 0.1],
  );

  const knobY = apex + 0.17;
  const arch = ellipse(centre + 0.045 + 0.55 * knob, knobY, knob, knob * 1.1);
  const aorta = Field.of(
    (x, y) => {
      const descending = Math.min(
        0.55 * knob + 0.012 - Math.abs(x - centre - 0.035 - 0.4 * knob + 0.02 * (y - knobY)),
        y - knobY,
        dome.left - 0.06 - y,
      );
      return Math.max(arch(x, y), descending);
    },
    size,
    [centre - 0.2, knobY - 0.22, centre + 0.3, dome.left + 0.06],
  );

  const contour = perPixel(size, (y) => {
    const t = (y - apex) / (dome.right - apex);
    return 0.056 + 0.02 * noise.value(0.2, y, 4, 2) + 0.03 * Math.max(0, t - 0.1);
  });
  const mediastinum = Field.of(
    (x, y) => contour[Math.floor(y * size)] - Math.abs(x - centre - 0.008),
    size,
    [centre - 0.22, 0, centre + 0.23, 1],
  );

  const lungOf = (side: Side): Field => {
    const sign = sideSign(side), base = dome[side];
    const rows = (border: readonly number[]) =>
      perPixel(size, (y) => curve(border, (y - apex) / (base - apex)) * halfWidth);
    const lateral = rows(lateralBorder), medial = rows(medialBorder);
    const shape = (x: number, y: number) => {
      const across = (x - centre) * sign, row = Math.floor(y * size);
      const u = across / halfWidth - 0.31;
      const top = y - apex - (u > 0 ? 1.7 : 2.2) * halfWidth * u * u;
      const bottom = floor[Math.floor(x * size)] - y;
      const value = Math.min(lateral[row] - across, across - medial[row], top, bottom);
      return Math.abs(value) > 0.06 ? value : value + 0.006 * noise.value(x, y, 5, 2);
    };
    const [from, to] = side === "left" ? [centre, 1] : [0, centre];
    const all = Field.of(shape, size, [from, apex - 0.08, to, base + 0.16]);
    const free = all.without(heart).without(mediastinum);
    const out: Shape = (x, y) => -arch(x, y);
    return side === "left" ? free.cut(out) : free;
  };

  // Neck, shoulders that leave the picture, armpits, trunk.
  const widths = [
    random.uniform(0.12, 0.15),
    0.3,
    0.49,
    0.56,
    0.55,
    halfWidth + 0.1,
    halfWidth + random.uniform(0.06, 0.09),
    halfWidth + 0.07,
    halfWidth + random.uniform(0.07, 0.12),
  ];
  return {
    size,
    random,
    noise,
    sex,
    centre,
    halfWidth,
    apex,
    dome,
    floor,
    outline: perPixel(size, (y) => curve(widths, y * 1.6)),
    cardiothoracic,
    knob,
    heart,
    aorta,
    mediastinum,
    lung: { right: lungOf("right"), left: lungOf("left") },
  };
}
