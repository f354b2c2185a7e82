/**
 * The anatomy of a chest radiograph phantom as implicit shapes: positive inside, roughly in units of the picture's side, so
 * that one function gives soft edges for drawing and exact masks.
 *
 * Coordinates run from 0 to 1, x to the right of the picture (the patient's left), y downwards.
 *
 * @module
 */
import { Noise, type Random } from "./random.ts";

/** The patient's side. The patient's right is at the left of the picture. */
export type Side = "right" | "left";

/** A shape: positive inside, about the distance to its edge. */
export type Shape = (x: number, y: number) => number;

/** What differs from patient to patient. */
export interface Chest {
  /** Pixels in a row of the picture; lungs, heart, aorta and findings are known at them alone. */
  readonly size: number;
  readonly random: Random;
  readonly noise: Noise;
  /** Middle line. */
  readonly centre: number;
  /** Half the width of the rib cage. */
  readonly halfWidth: number;
  /** Height of the lung apices. */
  readonly apex: number;
  /** Height of the domes of the diaphragm; the patient's right one is higher. */
  readonly dome: Readonly<Record<Side, number>>;
  /** Heart width over rib cage width. */
  readonly cardiothoracic: number;
  /** Radius of the aortic knob. */
  readonly knob: number;
  readonly body: Shape;
  readonly heart: Shape;
  readonly aorta: Shape;
  readonly mediastinum: Shape;
  readonly trachea: Shape;
  readonly lung: Readonly<Record<Side, Shape>>;
  readonly ribs: Shape;
  readonly clavicles: Shape;
  readonly spine: Shape;
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

/** Inside an ellipse turned by `angle`. */
export function ellipse(cx: number, cy: number, rx: number, ry: number, angle = 0): Shape {
  const cos = Math.cos(angle), sin = Math.sin(angle), small = Math.min(rx, ry);
  return (x, y) => {
    const u = ((x - cx) * cos + (y - cy) * sin) / rx, v = (-(x - cx) * sin + (y - cy) * cos) / ry;
    return (1 - Math.hypot(u, v)) * small;
  };
}

/** Inside all of the shapes. */
export function intersection(...shapes: Shape[]): Shape {
  return (x, y) => {
    let least = Infinity;
    for (const shape of shapes) least = Math.min(least, shape(x, y));
    return least;
  };
}

/** Inside the first shape and outside the second. */
export function difference(shape: Shape, cut: Shape): Shape {
  return (x, y) => Math.min(shape(x, y), -cut(x, y));
}

/** Lateral and medial borders of a lung from apex to base, in half widths of the rib cage. */
const lateralBorder = [0.22, 0.55, 0.72, 0.83, 0.9, 0.95, 0.97, 0.97];
const medialBorder = [0.16, 0.13, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18];

/** Where the wall of the chest is, in half widths of the rib cage, at a share of the way from apex to base. */
export function wallAt(share: number): number {
  return curve(lateralBorder, share);
}

/** Looks a shape up on the pixel grid of a picture instead of computing it again and again. */
export function onGrid(shape: Shape, size: number): Shape {
  const values = new Float32Array(size * size);
  for (let j = 0, i = 0; j < size; j++) {
    for (let k = 0; k < size; k++, i++) values[i] = shape((k + 0.5) / size, (j + 0.5) / size);
  }
  return (x, y) => values[Math.floor(y * size) * size + Math.floor(x * size)]!;
}

/**
 * Draws a patient.
 *
 * @param size Side of the picture: lungs, heart and aorta are known at its pixels alone.
 */
export function makeChest(random: Random, traits: ChestTraits, size: number): Chest {
  const noise = new Noise(random);
  const centre = 0.5 + random.uniform(-0.025, 0.025);
  const halfWidth = random.uniform(0.35, 0.4);
  const apex = random.uniform(0.08, 0.13);
  const right = random.uniform(0.7, 0.77);
  const dome = { right, left: right + random.uniform(0.015, 0.04) };
  const cardiothoracic = traits.cardiomegaly
    ? random.uniform(0.57, 0.68)
    : random.uniform(0.4, 0.48);
  const knob = traits.aorticEnlargement
    ? random.uniform(0.062, 0.078)
    : random.uniform(0.032, 0.04);

  const lungOf = (side: Side): Shape => (x, y) => {
    const u = (x - centre) * sideSign(side) / halfWidth;
    const base = dome[side];
    const t = (y - apex) / (base - apex);
    // The costophrenic angle lies below the dome, at the lateral wall.
    const floor = base + 0.035 * (1 - curve([0.9, 1, 1, 0.8, 0.3], u)) +
      0.11 * Math.max(0, u - 0.5) ** 1.5;
    const lateral = (curve(lateralBorder, t) - u) * halfWidth;
    const medial = (u - curve(medialBorder, t)) * halfWidth;
    const top = y - apex - 0.1 * Math.max(0, u - 0.32) ** 2;
    const value = Math.min(lateral, medial, top, floor - y);
    // Only the border is uneven; what is far from it needs no noise.
    return Math.abs(value) > 0.06 ? value : value + 0.006 * noise.value(x, y, 5, 2);
  };

  const heartWidth = cardiothoracic * halfWidth;
  const heartY = (dome.right + dome.left) / 2 - 0.105 - 0.05 * (cardiothoracic - 0.44);
  const ventricles = ellipse(
    centre + 0.25 * heartWidth,
    heartY,
    heartWidth * 0.98,
    0.12 + 0.13 * (cardiothoracic - 0.4),
    0.55,
  );
  // The vessels above narrow the silhouette towards the arch.
  const base = ellipse(centre + 0.03, heartY - 0.12, 0.4 * heartWidth + 0.012, 0.12);
  const heartShape: Shape = (x, y) => {
    const a = ventricles(x, y), b = base(x, y);
    // Smooth union, so that the waist has no notch.
    const h = Math.min(Math.max(0.5 + (a - b) / 0.08, 0), 1);
    return b + (a - b) * h + 0.04 * h * (1 - h);
  };
  const diaphragm: Shape = (x, y) =>
    Math.min(dome.right, dome.left) + 0.025 + 0.05 * Math.abs(x - centre) - y;
  const heart = intersection(
    (x, y) => heartShape(x, y) + 0.004 * noise.value(x, y, 7, 2),
    diaphragm,
  );

  const knobY = apex + 0.17;
  const arch = ellipse(centre + 0.045 + 0.55 * knob, knobY, knob, knob * 1.1);
  const descending: Shape = (x, y) =>
    Math.min(
      0.55 * knob + 0.012 - Math.abs(x - centre - 0.035 - 0.4 * knob + 0.02 * (y - knobY)),
      y - knobY,
      dome.left - 0.06 - y,
    );
  const aorta: Shape = (x, y) => Math.max(arch(x, y), descending(x, y));

  const mediastinum: Shape = (x, y) => {
    if (Math.abs(x - centre) > 0.15) return -0.05;
    const t = (y - apex) / (dome.right - apex);
    return (0.055 + 0.012 * noise.value(0.2, y, 4, 2) + 0.03 * Math.max(0, t - 0.1)) -
      Math.abs(x - centre - 0.008);
  };
  const trachea: Shape = (x, y) => Math.min(0.017 - Math.abs(x - centre + 0.004), apex + 0.19 - y);
  const spine: Shape = (x) => 0.034 - Math.abs(x - centre);

  // Neck, shoulders that leave the picture, armpits, trunk.
  const outline = [
    0.13,
    0.3,
    0.47,
    0.54,
    0.53,
    halfWidth + 0.1,
    halfWidth + 0.075,
    halfWidth + 0.07,
    halfWidth + 0.08,
  ];
  const body: Shape = (x, y) => curve(outline, y * 1.6) - Math.abs(x - centre);

  const pairs = Array.from({ length: 9 }, (_, n) => ({
    y: apex - 0.01 + n * (dome.right - apex + 0.09) / 9,
    drop: 0.055 + 0.012 * n,
    reach: curve(lateralBorder, (n + 0.5) / 8) * halfWidth + 0.012,
  }));
  const ribs: Shape = (x, y) => {
    const u = Math.abs(x - centre);
    let nearest = -1;
    for (const { y: from, drop, reach } of pairs) {
      const t = u / reach;
      if (t > 1.02 || t < 0.1 || y < from - 0.03 || y > from + drop + 0.19) continue;
      // Posterior ribs fall towards the side; anterior ones come back more steeply and are fainter.
      const posterior = from + drop * t ** 1.4 - 0.012 * Math.sin(Math.PI * t);
      const anterior = from + drop + 0.17 - 0.1 * Math.sqrt(Math.max(0, 1 - t)) - 0.05 * t;
      nearest = Math.max(
        nearest,
        0.0105 - Math.abs(y - posterior),
        t > 0.35 ? 0.006 - Math.abs(y - anterior) : -1,
      );
    }
    return nearest;
  };
  const clavicles: Shape = (x, y) => {
    const u = Math.abs(x - centre);
    if (u < 0.02 || u > halfWidth * 0.98) return -1;
    const line = apex + 0.085 - 0.075 * (u / halfWidth) + 0.012 * Math.sin(9 * u);
    return 0.014 - Math.abs(y - line);
  };

  const heartGrid = onGrid(heart, size);
  const middle = onGrid(mediastinum, size);
  const lungGrid = (side: Side, cut: Shape) =>
    onGrid(difference(difference(difference(lungOf(side), heartGrid), middle), cut), size);
  return {
    size,
    random,
    noise,
    centre,
    halfWidth,
    apex,
    dome,
    cardiothoracic,
    knob,
    body,
    heart: heartGrid,
    aorta: onGrid(aorta, size),
    mediastinum: middle,
    trachea,
    lung: { right: lungGrid("right", () => -1), left: lungGrid("left", arch) },
    ribs,
    clavicles,
    spine,
  };
}
