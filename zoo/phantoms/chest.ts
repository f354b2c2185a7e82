/**
 * Chest radiograph phantoms: pictures that look like frontal chest X-rays, with every structure and finding known exactly.
 *
 * Attenuations of the structures add up along the beam; exposure, contrast, blur, grain and collimation then differ from
 * picture to picture.
 *
 * @module
 */
import type { Box, Mask, Raster } from "@medvlm/core";
import { makeChest } from "./chest_anatomy.ts";
import { attenuation } from "./chest_drawing.ts";
import { type ChestFinding, drawFindings, drawKinds, type Prevalence } from "./chest_findings.ts";
import { maskBox } from "./field.ts";
import { Random } from "./random.ts";

/** A finding with its mask and box. */
export interface ChestInstance extends ChestFinding {
  /** Its pixels. */
  readonly mask: Mask;
  /** Tight box of the mask, right and lower edges exclusive. */
  readonly box: Box;
}

/** A picture and its truth. */
export interface ChestPhantom {
  /** Unique among the pictures of all seeds. */
  readonly id: string;
  /** Seed it was drawn with. */
  readonly seed: number;
  /** Its number. */
  readonly index: number;
  /** 8-bit grey. */
  readonly image: Raster;
  /** Attenuations in 12 bits, for DICOM. */
  readonly raw: Uint16Array;
  /** Masks of the normal structures. */
  readonly structures: Readonly<Record<"right lung" | "left lung" | "heart" | "aorta", Mask>>;
  /** What was drawn; empty for a normal picture. */
  readonly findings: readonly ChestInstance[];
  /** Of the patient. */
  readonly sex: "F" | "M";
  /** In years, 18 to 92. */
  readonly age: number;
}

/** Options of {@linkcode chestPhantom}. */
export interface ChestOptions {
  /** Side of the square picture in pixels, at least 32. */
  readonly size: number;
  /** Whole number from 0 to 2^53 - 1. */
  readonly seed: number;
  /** Number of the picture, 0 to 2^32 - 1: each has draws of its own. See {@linkcode splitIndex} for training and testing. */
  readonly index: number;
  /** Default: 30 % normal, 25 % for each kind of finding in the others. */
  readonly prevalence?: Prevalence;
}

/** A box blur of the given radius in pixels, applied in both directions. */
function blur(map: Float32Array, size: number, radius: number): Float32Array {
  if (radius < 1) return map;
  let from = map;
  for (const [step, line] of [[1, size], [size, 1]] as const) {
    const to = new Float32Array(map.length);
    for (let n = 0; n < size; n++) {
      for (let m = 0; m < size; m++) {
        let sum = 0, count = 0;
        for (let d = Math.max(-radius, -m); d <= Math.min(radius, size - 1 - m); d++, count++) {
          sum += from[n * line + (m + d) * step]!;
        }
        to[n * line + m * step] = sum / count;
      }
    }
    from = to;
  }
  return from;
}

/** Makes one phantom. The same options give the same bytes. @throws {RangeError} for sizes below 32. */
export function chestPhantom(
  { size, seed, index, prevalence = { normal: 0.3, each: 0.25 } }: ChestOptions,
): ChestPhantom {
  if (!Number.isSafeInteger(size) || size < 32 || size > 4096) {
    throw new RangeError(
      `Cannot draw a phantom of side ${size}: expected a whole number from 32 to 4096`,
    );
  }
  const random = new Random(seed, index);
  const kinds = drawKinds(random, prevalence);
  const chest = makeChest(random, {
    cardiomegaly: kinds.has("Cardiomegaly"),
    aorticEnlargement: kinds.has("Aortic enlargement"),
  }, size);
  const findings = drawFindings(chest, kinds);
  const map = blur(
    attenuation(chest, findings),
    size,
    Math.round(size * random.uniform(0, 0.004)),
  );

  const exposure = random.uniform(1.05, 1.45), gamma = random.uniform(0.85, 1.25);
  const noiseLevel = random.uniform(0.006, 0.02), vignette = random.uniform(0, 0.15);
  const black = random.uniform(0.01, 0.05);
  const data = new Uint8Array(size * size);
  const raw = new Uint16Array(size * size);
  const quanta = random.normals(size * size);
  for (let j = 0, i = 0; j < size; j++) {
    const y = (j + 0.5) / size - 0.5;
    for (let k = 0; k < size; k++, i++) {
      const x = (k + 0.5) / size - 0.5, away = Math.sqrt(x * x + y * y);
      const light = (1 - Math.exp(-exposure * map[i]!)) ** gamma * (1 - vignette * away);
      const film = light + noiseLevel * quanta[i];
      const value = Math.min(Math.max(black + (1.18 - black) * film, 0), 1);
      data[i] = Math.round(255 * value);
      raw[i] = Math.round(4095 * value);
    }
  }
  const instances = findings.flatMap((finding): ChestInstance[] => {
    const mask = finding.field.mask();
    const box = maskBox(mask);
    return box === undefined ? [] : [{ ...finding, mask, box }];
  });
  return {
    id: `phantom-${seed}-${String(index).padStart(5, "0")}`,
    seed,
    index,
    image: { width: size, height: size, channels: 1, data, bitDepth: 8 },
    raw,
    structures: {
      "right lung": chest.lung.right.mask(),
      "left lung": chest.lung.left.mask(),
      "heart": chest.heart.mask(),
      "aorta": chest.aorta.mask(),
    },
    findings: instances,
    sex: chest.sex,
    age: random.whole(18, 92),
  };
}
