/**
 * The anatomy of a CT phantom, drawn slice by slice in Hounsfield units. Coordinates are those of `volume_patient.ts`.
 *
 * @module
 */
import { values } from "./volume_labels.ts";
import { type Ellipsoid, FIELD_OF_VIEW, type Patient } from "./volume_patient.ts";

/** Distance of the vertebrae. */
const LEVEL = 28;

/** Below 1 inside an ellipsoid. */
function within(
  { centre: [cx, cy, cz], radii: [rx, ry, rz] }: Ellipsoid,
  x: number,
  y: number,
  z: number,
) {
  const u = (x - cx) / rx, v = (y - cy) / ry, w = (z - cz) / rz;
  return u * u + v * v + w * w;
}

/** Linear interpolation in a table of places and values. */
function table(rows: readonly (readonly [number, number])[], at: number): number {
  for (let n = 1; n < rows.length; n++) {
    const [p, a] = rows[n - 1], [q, b] = rows[n];
    if (at <= q) return a + (b - a) * Math.max(0, at - p) / (q - p);
  }
  return rows.at(-1)![1];
}

/** Square of the distance from the middle of a rounded rectangle in its half axes; 1 on its edge. */
function squircle(u: number, v: number): number {
  const a = u * u, b = v * v;
  return a + b - 0.45 * a * b;
}

const BODY_WIDTH = [[0, 158], [110, 164], [250, 168], [330, 176], [400, 178]] as const;
const BODY_DEPTH = [[0, 108], [110, 114], [250, 112], [330, 102], [400, 88]] as const;
const CAVITY_WIDTH = [[0, 122], [120, 130], [240, 126], [320, 108], [375, 74], [402, 10]] as const;
const CAVITY_DEPTH = [[0, 82], [120, 90], [240, 88], [320, 76], [375, 50], [402, 8]] as const;

/** What is drawn of a slice: density without noise, and structures. */
export interface SlicePicture {
  readonly hu: Float32Array;
  readonly labels: Uint8Array;
}

/** Bone: a dense shell around marrow. `edge` is 0 in the middle and 1 on the surface. */
function bone(edge: number): number {
  return edge > 0.6 ? 620 : 230;
}

/** Draws the slice at a height. `size` is the side in pixels. */
export function drawSlice(patient: Patient, z: number, size: number, out: SlicePicture): void {
  const { noise, scale, fat, heart, liver, spleen, stomach, gallbladder, kidney, dome } = patient;
  const { hu, labels } = out;
  hu.fill(-1000);
  labels.fill(0);
  const step = FIELD_OF_VIEW / size / scale;
  const bodyA = table(BODY_WIDTH, z), bodyB = table(BODY_DEPTH, z);
  const cavityA = table(CAVITY_WIDTH, z), cavityB = table(CAVITY_DEPTH, z);
  const wallA = bodyA - fat, wallB = bodyB - 0.75 * fat;
  const level = Math.min(14, Math.floor(z / LEVEL)), inLevel = z - level * LEVEL;
  const disc = inLevel < 6, shift = z / 130;
  const shoulder = Math.max(0, (z - 300) / 100);
  const archAt = 305, arch = Math.max(0, 1 - Math.abs(z - archAt) / 14);
  const fissure = dome.left + 42;
  const bloodAorta = patient.blood + 15;
  const bowel = patient.bowel.filter(({ centre, radii }) => Math.abs(z - centre[2]) < radii[2]);
  for (let row = 0, i = 0; row < size; row++) {
    const rawY = (row + 0.5 - size / 2) * step;
    for (let column = 0; column < size; column++, i++) {
      const rawX = (column + 0.5 - size / 2) * step;
      const body = squircle(rawX / bodyA, rawY / bodyB);
      if (body > 1) {
        // The table: a thin shell in a curve below the back.
        const under = rawY * scale - 118 * scale - 6 + rawX * rawX * scale * scale / 900;
        if (Math.abs(rawX) * scale < 175 && Math.abs(under - 6) < 2) hu[i] = -250;
        continue;
      }
      // A gentle warp makes outlines irregular.
      const warp = noise.value(rawX / 400 + 0.5, rawY / 400 + shift, 7, 1);
      const bend = noise.value(rawY / 400 + 0.3, rawX / 400 + shift, 7, 1);
      const x = rawX + 4.5 * warp, y = rawY + 4.5 * bend;
      const ax = Math.abs(x), side = x < 0 ? "right" : "left";
      let value = -102, label = 0;
      const wall = squircle(x / wallA, y / wallB), cavity = squircle(x / cavityA, y / cavityB);
      if (body > 0.985) value = 20;
      else if (wall < 1) value = 56;

      // Streaks of fat between the muscles of shoulder and back.
      if (wall < 1 && cavity > 1.12 && warp * bend > 0.12) value = -70;

      // Spine.
      const vx = x / 21, vy = (y - 62) / 17, vertebra = vx * vx + vy * vy;
      const canal = (x * x + (y - 86) * (y - 86)) / 81;
      const posterior = ax < 4 + 0.1 * (y - 92) && y > 92 && y < 116 && inLevel > 8 ||
        Math.abs(y - 88 + 0.12 * ax) < 5 && ax < 38 && inLevel > 12 && inLevel < 22 ||
        canal < 2.2 && inLevel > 4;

      if (vertebra < 1) {
        value = disc ? 85 : bone(vertebra * 0.72);
        label = values.vertebra + level;
      } else if (canal < 1) value = 35;
      else if (posterior && wall < 1) {
        value = bone(0.7 + 0.2 * warp);
        label = values.vertebra + level;
      } else if (cavity < 1) {
        const top = dome[side], centreX = side === "right" ? -72 : 74;
        const dx = (x - centreX) / 78, dy = (y + 8) / (y < -8 ? 140 : 90);
        const diaphragm = top - 46 * (dx * dx + dy * dy) - (y > 30 ? 0.35 * (y - 30) : 0);
        const inHeart = within(
          heart,
          x - 0.25 * (y - heart.centre[1]),
          y + 0.3 * (x - heart.centre[0]),
          z,
        );
        // The mediastinum is widest behind the heart's base and narrow behind the sternum.
        const middle = 16 + 18 * Math.exp(-(((y + 8) / 34) ** 2)) + (y > 20 ? 0.25 * (y - 20) : 0) +
          5 * bend - (z > 320 ? 0.08 * (z - 320) : 0);
        const descending = (x - 20) ** 2 + (y - (z > 200 ? 42 : 36)) ** 2;
        const wide = patient.aorta;
        if (z < archAt && descending < wide * wide) {
          value = bloodAorta;
          label = values.aorta;
        } else if (
          z > 235 && z < archAt && (x + 14) ** 2 + (y + 22) ** 2 < (wide * 1.2) ** 2 ||
          arch > 0 && y > -30 && y < 50 && Math.abs(x - 3 - 0.42 * (y - 8)) < wide * Math.sqrt(arch)
        ) {
          value = bloodAorta;
          label = values.aorta;
        } else if (z > diaphragm) {
          [value, label] = chest(patient, { x, y, z, ax, side, inHeart, middle, fissure, cavity });
        } else if (z > diaphragm - 3) value = 50;
        else {
          value = -104;
          const below = Math.max(0, liver.centre[2] - z);
          const inLiver = Math.min(
            // Its lower part lies more to the side and in front of the kidney.
            within(liver, x + 0.3 * below, y + 0.45 * below, z),
            // The left lobe tapers across the middle.
            within(
              {
                centre: [18, -48, liver.centre[2] + 22],
                radii: [70, 30, 34],
              },
              x,
              y,
              z,
            ),
          );
          const inStomach = within(stomach, x, y, z), inSpleen = within(spleen, x, y, z);
          const inGall = within(gallbladder, x, y, z);
          const inKidney = within(kidney[side], x, y, z);
          // The hilum opens towards the middle and the front.
          const hilum = within(
            {
              centre: [
                kidney[side].centre[0] * 0.64,
                kidney[side].centre[1] - 8,
                kidney[side].centre[2],
              ],
              radii: [15, 12, 22],
            },
            x,
            y,
            z,
          );
          if (z < dome.right - 5 && (x + 24) ** 2 + (y - 30) ** 2 < 121) {
            value = patient.blood - 25;
            label = values.cava;
          } else if (inKidney < 1 && hilum > 1) {
            const inner = within({ ...kidney[side], radii: [18, 15, 40] }, x, y, z);
            value = inner > 1 ? 185 : inner > 0.45 ? 140 : -20;
            label = values.kidney[side];
          } else if (inKidney < 1.25 && hilum > 1) value = -105;
          else if (inGall < 1) {
            value = 8;
            label = values.gallbladder;
          } else if (inLiver < 1 && cavity < 0.96) {
            value = 108;
            label = values.liver;
          } else if (inStomach < 1 && inLiver > 1) {
            value = inStomach > 0.78 ? 75 : y < stomach.centre[1] - 10 ? -920 : 25;
            label = values.stomach;
          } else if (inSpleen < 1 && within(stomach, x, y - 8, z) > 1.1) {
            value = 122;
            label = values.spleen;
          } else if (((ax - 35) / 15) ** 2 + ((y - 64) / 17) ** 2 < 1 && z < 120) value = 58;
          else {
            for (const loop of bowel) {
              const inside = within(loop, x, y, z);
              if (inside > 1) continue;
              value = inside > 0.62 ? 68 : loop.gas && y < loop.centre[1] - 2 ? -850 : 22;
              break;
            }
          }
        }
      } else if (z > 105) {
        [value, label] = wallBone({ x, y, z, ax, side, cavity, shoulder }, value);
      }
      hu[i] = value;
      labels[i] = label;
    }
  }
}

interface ChestPlace {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly ax: number;
  readonly side: "right" | "left";
  readonly cavity: number;
}

/** Density and structure above the diaphragm: heart, mediastinum, airways, lungs. */
function chest(
  patient: Patient,
  { x, y, z, ax, side, inHeart, middle, fissure, cavity }: ChestPlace & {
    inHeart: number;
    middle: number;
    fissure: number;
  },
): [number, number] {
  if (inHeart < 1) {
    const [hx, hy] = patient.heart.centre;
    const left = ((x - hx - 18) / 22) ** 2 + ((y - hy - 2) / 18) ** 2;
    const right = ((x - hx + 22) / 26) ** 2 + ((y - hy + 12) / 20) ** 2;
    const cavities = inHeart < 0.72 && (left < 1 || right < 1);
    // The sac's fat lies outside.
    return [inHeart > 0.93 ? -60 : cavities ? patient.blood : 105, values.heart];
  }
  const split = Math.max(0, Math.min(1, (255 - z) / 45));
  const bronchus = (ax - 38 * split) ** 2 + (y - 8 + 4 * split) ** 2;
  if (z > 210 && bronchus < (z > 255 ? 81 : 36)) return [-990, values.trachea];
  if (z > 210 && bronchus < (z > 255 ? 121 : 64)) return [40, 0];
  if (ax < middle) {
    if ((x - 6) ** 2 + (y - 28) ** 2 < 64) return [45, 0];
    if (z > 225 && (x + 26) ** 2 + (y + 14) ** 2 < 90) return [patient.blood, 0];
    if (z > 225 && z < 275 && Math.abs(y + 6) < 10 && ax < middle - 3) {
      return [patient.blood - 10, 0];
    }
    return [y < -20 ? -95 : -70, 0];
  }
  if (cavity > 0.975) return [10, 0];
  const value = -865 + 0.55 * (y + 60);
  const lower = z < fissure + 0.8 * y;
  const [upper, ...rest] = values.lung[side];
  if (lower) return [value, rest.at(-1)!];
  return [value, side === "right" && z < fissure + 14 ? rest[0] : upper];
}

/** Density and structure in the wall of the chest. */
function wallBone(
  { x, y, z, ax, side, cavity, shoulder }: ChestPlace & { shoulder: number },
  value: number,
): [number, number] {
  if (z > 205 && z < 370 && ax < 18 && cavity < 1.32 && y < -30) {
    const edge = Math.abs(cavity - 1.17) / 0.15;
    if (edge < 1) return [bone(Math.max(edge, ax / 18) * 0.9), values.sternum];
  }
  if (cavity < 1.2 && value > 0) {
    // From the back (0) to the front (1); ribs fall on the way.
    const around = Math.acos(Math.max(-1, Math.min(1, y / Math.hypot(x, y)))) / Math.PI;
    const height = z + 170 * Math.min(around, 0.75);
    const at = height / LEVEL - 0.3, number = 14 - Math.floor(at);
    const across = Math.abs(at - Math.floor(at) - 0.5) * LEVEL / 6.5;
    const edge = Math.hypot(across, (cavity - 1.1) / 0.085);
    const reach = number > 10 ? 0.45 : 0.8;
    if (edge < 1 && number >= 1 && number <= 12 && around < reach) {
      return [bone(edge), values.rib[side] + number - 1];
    }
  }
  if (shoulder > 0) {
    const blade = Math.abs(y - 58 + 0.45 * (ax - 105)) < 5 && ax > 72 && ax < 142 && cavity > 1.3;
    if (blade && value > -50) return [420, 0];
    // The armpit is full of fat.
    const pit = ((ax - 132) / 22) ** 2 + ((y + 8) / 30) ** 2 + ((z - 330) / 45) ** 2;
    if (pit < 1 && value > -50) return [-98, 0];
    const head = (ax - 148) ** 2 + (y - 6) ** 2 + (z - 380) ** 2;
    if (head < 580) return [bone(head / 580), 0];
    if (z > 365 && Math.abs(y + 52 - 0.25 * ax) < 6 && ax > 25 && ax < 130) return [480, 0];
  }
  return [value, 0];
}
