/**
 * Chest radiograph phantoms: pictures that look like frontal chest X-rays, with every structure and finding known exactly.
 *
 * Attenuations of the structures add up along the beam; exposure, contrast, blur, grain and collimation then differ from
 * picture to picture.
 *
 * @module
 */
import type { Box, Mask, Raster } from "@medvlm/core";
import { type Chest, makeChest, type Shape } from "./chest_anatomy.ts";
import { type ChestFinding, drawFindings, drawKinds, type Prevalence } from "./chest_findings.ts";
import { Noise, Random } from "./random.ts";

/** A finding with its mask and box. */
export interface ChestInstance extends ChestFinding {
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
  readonly findings: readonly ChestInstance[];
  readonly sex: "F" | "M";
  readonly age: number;
}

/** Options of {@linkcode chestPhantom}. */
export interface ChestOptions {
  /** Side of the square picture in pixels, at least 32. */
  readonly size: number;
  readonly seed: number;
  /** Number of the picture: each has draws of its own. */
  readonly index: number;
  /** Default: 30 % normal, 25 % for each kind of finding in the others. */
  readonly prevalence?: Prevalence;
}

/** From 0 outside to 1 inside, over `width` on either side of the edge. */
function soft(value: number, width: number): number {
  const t = Math.min(Math.max(value / (2 * width) + 0.5, 0), 1);
  return t * t * (3 - 2 * t);
}

/** Pixels inside a shape. */
export function shapeMask(shape: Shape, size: number): Mask {
  const data = new Uint8Array(size * size);
  for (let y = 0, i = 0; y < size; y++) {
    for (let x = 0; x < size; x++, i++) {
      data[i] = shape((x + 0.5) / size, (y + 0.5) / size) > 0 ? 1 : 0;
    }
  }
  return { width: size, height: size, data };
}

/** Tight box of a mask, or undefined when it is empty. */
export function maskBox({ width, height, data }: Mask): Box | undefined {
  let x0 = width, y0 = height, x1 = 0, y1 = 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (data[i] === 0) continue;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x + 1);
      y0 = Math.min(y0, y);
      y1 = Math.max(y1, y + 1);
    }
  }
  return x1 > x0 ? [x0, y0, x1, y1] : undefined;
}

interface Vessel {
  readonly points: readonly (readonly [number, number])[];
  readonly width: number;
}

/** Pulmonary vessels: branches that leave the hilum, bend and thin out. */
function vessels(chest: Chest): Vessel[] {
  const { random } = chest;
  const all: Vessel[] = [];
  for (const sign of [-1, 1]) {
    const hilum = [chest.centre + sign * 0.075, chest.apex + 0.3] as const;
    const grow = (x: number, y: number, angle: number, width: number, depth: number) => {
      const points: [number, number][] = [[x, y]];
      const steps = random.whole(5, 8);
      for (let n = 0; n < steps; n++) {
        angle += random.uniform(-0.22, 0.22);
        x += 0.022 * Math.cos(angle) * sign;
        y += 0.022 * Math.sin(angle);
        points.push([x, y]);
      }
      all.push({ points, width });
      if (depth > 0) {
        for (const turn of [-0.45, 0.4]) {
          grow(x, y, angle + turn + random.uniform(-0.15, 0.15), width * 0.66, depth - 1);
        }
      }
    };
    for (const angle of [-1.1, -0.6, -0.1, 0.35, 0.8, 1.2]) {
      grow(
        hilum[0],
        hilum[1] + random.uniform(-0.03, 0.03),
        angle + random.uniform(-0.1, 0.1),
        0.0075,
        2,
      );
    }
  }
  return all;
}

/** Adds a line of soft dots to a map. */
function strokeVessels(map: Float32Array, size: number, all: readonly Vessel[]): void {
  for (const { points, width } of all) {
    for (let n = 1; n < points.length; n++) {
      const [ax, ay] = points[n - 1]!, [bx, by] = points[n]!;
      const steps = Math.max(1, Math.ceil(Math.hypot(bx - ax, by - ay) * size));
      const radius = width * (1 - 0.35 * n / points.length);
      const reach = Math.ceil(2.5 * radius * size);
      for (let s = 0; s < steps; s++) {
        const px = (ax + (bx - ax) * s / steps) * size, py = (ay + (by - ay) * s / steps) * size;
        for (
          let y = Math.max(0, Math.floor(py) - reach);
          y <= Math.min(size - 1, Math.floor(py) + reach);
          y++
        ) {
          for (
            let x = Math.max(0, Math.floor(px) - reach);
            x <= Math.min(size - 1, Math.floor(px) + reach);
            x++
          ) {
            const distance = Math.hypot(x + 0.5 - px, y + 0.5 - py) / size;
            const value = Math.exp(-0.5 * (distance / radius) ** 2);
            const at = y * size + x;
            if (value > map[at]!) map[at] = value;
          }
        }
      }
    }
  }
}

/** Attenuation of the chest at every pixel, about 0 (air) to 2 (spine behind the heart). */
function attenuation(chest: Chest, findings: readonly ChestFinding[], size: number): Float32Array {
  const grain = new Noise(chest.random, 6);
  const vesselMap = new Float32Array(size * size);
  strokeVessels(vesselMap, size, vessels(chest));
  const air = findings.find(({ label }) => label === "Pneumothorax");
  // Neither free air nor fluid has vessels.
  const empty = findings.filter(({ label }) =>
    label === "Pneumothorax" || label === "Pleural effusion"
  );
  const map = new Float32Array(size * size);
  const { body, lung, heart, aorta, mediastinum, trachea, ribs, clavicles, spine, noise } = chest;
  for (let j = 0, i = 0; j < size; j++) {
    const y = (j + 0.5) / size;
    for (let k = 0; k < size; k++, i++) {
      const x = (k + 0.5) / size;
      const inBody = soft(body(x, y), 0.012);
      if (inBody === 0) continue;
      const inLung = Math.max(soft(lung.right(x, y), 0.008), soft(lung.left(x, y), 0.008));
      const edge = Math.abs(x - chest.centre) / chest.halfWidth;
      let value = 0.78 + 0.06 * noise.value(x, y, 3, 3) + 0.12 * soft(edge - 0.85, 0.12);
      // Lungs are mostly air, a little denser towards hilum and base.
      if (inLung > 0) {
        value += inLung * (-0.52 + 0.06 * grain.value(x, y, 26, 2) + 0.05 * (1 - edge));
        let marked = 0.2 * inLung * vesselMap[i]!;
        for (const { shape } of empty) marked *= 1 - soft(shape(x, y), 0.004);
        value += marked;
      }
      value += 0.27 * soft(heart(x, y), 0.016);
      value += 0.16 * soft(mediastinum(x, y), 0.014) * (1 - inLung);
      value += 0.2 * soft(aorta(x, y), 0.008);
      value += 0.22 * soft(spine(x, y), 0.012) * (0.75 + 0.25 * Math.cos(150 * y));
      value -= 0.2 * soft(trachea(x, y), 0.006);
      value += 0.085 * soft(ribs(x, y), 0.004);
      value += 0.15 * soft(clavicles(x, y), 0.004);
      for (const { shape, density, texture, blur } of findings) {
        if (density === 0) continue;
        const inside = soft(shape(x, y), Math.max(blur, 0.5 / size));
        if (inside > 0) value += inside * density * (1 + texture * grain.value(x, y, 18, 3));
      }
      map[i] = Math.max(0, value) * inBody;
    }
  }
  if (air !== undefined) addPleuralLine(map, air.shape, size);
  return map;
}

/** The thin white line of the visceral pleura, on the inner border of the free air. */
function addPleuralLine(map: Float32Array, shape: Shape, size: number): void {
  for (let j = 0, i = 0; j < size; j++) {
    for (let k = 0; k < size; k++, i++) {
      const value = shape((k + 0.5) / size, (j + 0.5) / size);
      if (Math.abs(value) < 0.004) map[i]! += 0.09 * (1 - Math.abs(value) / 0.004);
    }
  }
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
    attenuation(chest, findings, size),
    size,
    Math.round(size * random.uniform(0, 0.004)),
  );

  const exposure = random.uniform(1.05, 1.45), gamma = random.uniform(0.85, 1.25);
  const noiseLevel = random.uniform(0.006, 0.02), vignette = random.uniform(0, 0.15);
  const black = random.uniform(0.01, 0.05);
  const data = new Uint8Array(size * size);
  const raw = new Uint16Array(size * size);
  for (let j = 0, i = 0; j < size; j++) {
    for (let k = 0; k < size; k++, i++) {
      const away = Math.hypot((k + 0.5) / size - 0.5, (j + 0.5) / size - 0.5);
      const quantum = noiseLevel * random.normal();
      const film = (1 - Math.exp(-exposure * map[i]!)) ** gamma * (1 - vignette * away) + quantum;
      const value = Math.min(Math.max(black + (1.18 - black) * film, 0), 1);
      data[i] = Math.round(255 * value);
      raw[i] = Math.round(4095 * value);
    }
  }
  const instances = findings.flatMap((finding): ChestInstance[] => {
    const mask = shapeMask(finding.shape, size);
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
      "right lung": shapeMask(chest.lung.right, size),
      "left lung": shapeMask(chest.lung.left, size),
      "heart": shapeMask(chest.heart, size),
      "aorta": shapeMask(chest.aorta, size),
    },
    findings: instances,
    sex: random.chance(0.5) ? "F" : "M",
    age: random.whole(18, 92),
  };
}
