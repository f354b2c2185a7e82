/**
 * What differs from patient to patient in CT phantoms: sizes and places of organs, vessels.
 *
 * Coordinates are millimetres: x to the patient's left, y to the back, z upwards from the lower poles of the kidneys (0) to
 * the apices of the lungs (400). The middle of the body is x = 0, y = 0.
 *
 * @module
 */
import { Noise, type Random } from "./random.ts";

/** Height of what a volume can show, in millimetres. */
export const BODY_HEIGHT = 400;
/** Side of the picture in millimetres. */
export const FIELD_OF_VIEW = 360;

/** A piece of a vessel: from one point to another, in millimetres, with its radius. */
export interface Segment {
  readonly from: readonly [number, number, number];
  readonly to: readonly [number, number, number];
  readonly radius: number;
}

/** An ellipsoid with axes along the coordinates. */
export interface Ellipsoid {
  readonly centre: readonly [number, number, number];
  readonly radii: readonly [number, number, number];
}

/** What differs from patient to patient. */
export interface Patient {
  readonly random: Random;
  readonly noise: Noise;
  /** Size of the cross-section, 1 for the largest. */
  readonly scale: number;
  /** Thickness of the fat under the skin. */
  readonly fat: number;
  readonly heart: Ellipsoid;
  readonly liver: Ellipsoid;
  readonly spleen: Ellipsoid;
  readonly stomach: Ellipsoid;
  readonly gallbladder: Ellipsoid;
  readonly kidney: Readonly<Record<"right" | "left", Ellipsoid>>;
  /** Tops of the diaphragm. */
  readonly dome: Readonly<Record<"right" | "left", number>>;
  readonly aorta: number;
  /** Density of blood with contrast agent. */
  readonly blood: number;
  readonly lungVessels: readonly Segment[];
  readonly liverVessels: readonly Segment[];
  readonly bowel: readonly (Ellipsoid & { readonly gas: boolean })[];
}

/** Adds a vessel and its branches, until they are too thin to be seen. */
function branch(
  random: Random,
  out: Segment[],
  from: readonly [number, number, number],
  direction: readonly [number, number, number],
  radius: number,
  length: number,
  depth: number,
  thinnest: number,
): void {
  const [dx, dy, dz] = direction, norm = Math.sqrt(dx * dx + dy * dy + dz * dz);
  const step = length / norm;
  const to = [from[0] + dx * step, from[1] + dy * step, from[2] + dz * step] as const;
  out.push({ from, to, radius });
  if (depth === 0 || radius < thinnest) return;
  const turned = (along: number) => along / norm + random.uniform(-0.75, 0.75);
  for (let n = 0; n < 3; n++) {
    branch(
      random,
      out,
      to,
      [turned(dx), turned(dy), turned(dz)],
      radius * random.uniform(0.6, 0.8),
      length * random.uniform(0.65, 0.9),
      depth - 1,
      thinnest,
    );
  }
}

function lungTree(random: Random, thinnest: number): Segment[] {
  const out: Segment[] = [];
  for (const sign of [-1, 1]) {
    for (let n = 0; n < 12; n++) {
      const angle = -1.3 + 2.7 * n / 11;
      branch(
        random,
        out,
        [sign * 36, -2 + random.uniform(-10, 10), 235 + random.uniform(-14, 14)],
        [sign, random.uniform(-1.1, 1.2), 1.6 * Math.sin(-angle)],
        random.uniform(3, 4.5),
        random.uniform(26, 36),
        5,
        thinnest,
      );
    }
  }
  return out;
}

/** Draws a patient. @param pixel Millimetres per pixel: what is far thinner is left out. */
export function makePatient(random: Random, pixel: number): Patient {
  const thinnest = 0.3 * pixel;
  const near = (value: number, by: number) => value + random.uniform(-by, by);
  const dome = { right: near(188, 8), left: near(172, 8) };
  const liverVessels: Segment[] = [];
  for (let n = 0; n < 4; n++) {
    branch(
      random,
      liverVessels,
      [near(-35, 6), near(5, 6), near(dome.right - 70, 10)],
      [near(-0.8, 0.6), near(-0.1, 0.8), near(0, 0.9)],
      5,
      26,
      3,
      thinnest,
    );
  }
  return {
    random,
    noise: new Noise(random),
    scale: random.uniform(0.88, 0.99),
    fat: random.uniform(9, 26),
    heart: {
      centre: [near(24, 5), near(-26, 4), dome.left + near(38, 4)],
      radii: [near(60, 5), near(46, 4), near(52, 4)],
    },
    liver: {
      centre: [near(-62, 4), near(-4, 4), dome.right - near(68, 4)],
      radii: [near(86, 5), near(78, 4), near(74, 6)],
    },
    spleen: {
      centre: [near(100, 4), near(38, 4), dome.left - near(42, 6)],
      radii: [near(30, 3), near(44, 4), near(46, 6)],
    },
    stomach: {
      centre: [near(58, 5), near(-28, 5), dome.left - near(52, 6)],
      radii: [near(44, 5), near(40, 5), near(48, 5)],
    },
    gallbladder: {
      centre: [near(-42, 5), near(-48, 5), near(92, 8)],
      radii: [near(14, 3), near(18, 3), near(22, 4)],
    },
    kidney: {
      right: { centre: [near(-60, 4), near(50, 3), near(58, 5)], radii: [27, 24, near(50, 5)] },
      left: { centre: [near(60, 4), near(50, 3), near(70, 5)], radii: [27, 24, near(52, 5)] },
    },
    dome,
    aorta: random.uniform(10.5, 14),
    blood: random.uniform(140, 190),
    lungVessels: lungTree(random, thinnest),
    liverVessels,
    bowel: Array.from({ length: 44 }, () => ({
      centre: [near(0, 105), near(-38, 34), near(32, 48)],
      radii: [near(22, 6), near(17, 4), near(22, 8)],
      gas: random.chance(0.45),
    })),
  };
}
