/**
 * What weakens the beam on its way through a chest phantom: soft tissue, air, bones, vessels and findings, added up.
 *
 * @module
 */
import { type Chest, wallAt } from "./chest_anatomy.ts";
import type { ChestFinding } from "./chest_findings.ts";
import { type Field, soft } from "./field.ts";
import { Noise } from "./random.ts";

/** Adds a shadow of uneven height to a column: `half` is half its thickness; the rims of bones are denser. */
function strokeColumn(
  map: Float32Array,
  size: number,
  column: number,
  middle: number,
  half: number,
  density: number,
): void {
  const blur = Math.max(0.004, 0.35 / size), reach = half + blur;
  const from = Math.max(0, Math.floor((middle - reach) * size));
  const to = Math.min(size - 1, Math.ceil((middle + reach) * size));
  for (let j = from; j <= to; j++) {
    const away = Math.abs((j + 0.5) / size - middle);
    const value = density * soft(half - away, blur) * (0.7 + 0.45 * Math.min(1, away / half) ** 2);
    const at = j * size + column;
    if (value > map[at]) map[at] = value;
  }
}

/** Ribs, clavicles: the back of a rib falls towards the side; its front comes back further down and is fainter. */
function bones(chest: Chest): Float32Array {
  const { size, random, centre, halfWidth, apex, dome } = chest;
  const map = new Float32Array(size * size);
  const distance = (dome.right - apex + 0.16) / 10;
  const back = random.uniform(0.09, 0.16), front = random.uniform(0.04, 0.07);
  const drop = random.uniform(0.05, 0.075), clavicle = random.uniform(0.13, 0.18);
  const ribs = Array.from({ length: 10 }, (_, n) => ({
    from: apex + 0.005 + n * distance,
    drop: drop + 0.006 * n,
    reach: wallAt((n + 0.6) / 8) * halfWidth + 0.012,
  }));
  for (let k = 0; k < size; k++) {
    const u = Math.abs((k + 0.5) / size - centre);
    for (const { from, drop, reach } of ribs) {
      const t = u / reach;
      if (t < 0.08 || t > 1) continue;
      const posterior = from + drop * t ** 2.6 - 0.02 * Math.sin(Math.PI * t);
      strokeColumn(map, size, k, posterior, 0.014, back * Math.min(1, 8 * (1.04 - t)));
      if (t < 0.42) continue;
      const anterior = from + drop + 0.11 * Math.sqrt(1 - t) + 0.05 * (1 - t);
      strokeColumn(map, size, k, anterior, 0.0105, front * Math.min(1, 5 * (t - 0.4)));
    }
    const t = u / halfWidth;
    if (t < 0.08 || t > 1.3) continue;
    const line = apex + 0.08 - 0.075 * t + 0.014 * Math.sin(3.4 * t);
    strokeColumn(map, size, k, line, 0.0125 + 0.006 * Math.max(0, 0.25 - t), clavicle);
  }
  return map;
}

/** Draws the pulmonary vessels: branches that leave the hilum, bend and thin out. */
function vessels({ random, size, centre, apex }: Chest): Float32Array {
  const map = new Float32Array(size * size);
  const grow = (sign: number, x: number, y: number, angle: number, width: number, left: number) => {
    for (let n = random.whole(4, 7); n > 0; n--) {
      angle += random.uniform(-0.28, 0.28);
      const nx = x + 0.022 * Math.cos(angle) * sign, ny = y + 0.022 * Math.sin(angle);
      strokeVessel(map, size, [x, y], [nx, ny], width);
      width *= 0.94;
      [x, y] = [nx, ny];
    }
    if (left === 0) return;
    for (const turn of [-0.5, 0.42]) {
      grow(sign, x, y, angle + turn + random.uniform(-0.2, 0.2), width * 0.78, left - 1);
    }
  };
  for (const sign of [-1, 1]) {
    const x = centre + sign * 0.07, y = apex + 0.3 - (sign > 0 ? 0.015 : 0);
    for (const angle of [-1.25, -0.75, -0.2, 0.35, 0.8, 1.15, 1.4]) {
      const from = y + random.uniform(-0.03, 0.03);
      grow(sign, x, from, angle + random.uniform(-0.15, 0.15), 0.0062, 2);
    }
  }
  return map;
}

/** Adds a piece of a vessel with soft edges; `width` is its standard deviation. */
function strokeVessel(
  map: Float32Array,
  size: number,
  [ax, ay]: readonly [number, number],
  [bx, by]: readonly [number, number],
  width: number,
): void {
  // What is thinner than a pixel darkens it less.
  const seen = Math.max(width, 0.45 / size), peak = width / seen, reach = 2.2 * seen;
  const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy;
  const low = (value: number) => Math.max(0, Math.floor((value - reach) * size));
  const high = (value: number) => Math.min(size - 1, Math.floor((value + reach) * size));
  const bottom = high(Math.max(ay, by)), right = high(Math.max(ax, bx));
  for (let j = low(Math.min(ay, by)); j <= bottom; j++) {
    const y = (j + 0.5) / size - ay;
    for (let k = low(Math.min(ax, bx)); k <= right; k++) {
      const x = (k + 0.5) / size - ax;
      const t = Math.min(1, Math.max(0, (x * dx + y * dy) / length));
      const u = x - t * dx, v = y - t * dy;
      const value = peak * Math.exp(-0.5 * (u * u + v * v) / (seen * seen));
      const at = j * size + k;
      if (value > map[at]) map[at] = value;
    }
  }
}

/** Muscle, fat and the organs below the diaphragm, without lungs. */
function tissue(chest: Chest, map: Float32Array): void {
  const { size, random, noise, sex, centre, halfWidth, apex, dome, floor, outline } = chest;
  const uneven = noise.map(size, 3, 3), abdomen = random.uniform(0.28, 0.45);
  const bulk = random.uniform(0.72, 0.86);
  const bubble = random.chance(0.6) ? random.uniform(0.18, 0.3) : 0;
  const bubbleX = centre + random.uniform(0.4, 0.55) * halfWidth, bubbleY = dome.left + 0.075;
  const breast = sex === "F" ? random.uniform(0.05, 0.16) : 0;
  const breastY = dome.right - random.uniform(0.02, 0.1), breastSize = random.uniform(0.13, 0.19);
  const shoulderY = apex + random.uniform(0.06, 0.11);
  const pixel = 0.5 / size, bladeY = apex + 0.27;
  for (let j = 0, i = 0; j < size; j++) {
    const y = (j + 0.5) / size, half = outline[j];
    for (let k = 0; k < size; k++, i++) {
      const u = Math.abs((k + 0.5) / size - centre), share = u / half;
      const skin = soft(half - u, 0.008 + pixel);
      if (skin === 0) continue;
      // The body is thinner towards its outline.
      let value = bulk * Math.sqrt(Math.max(0.12, 1 - share ** 4)) + 0.06 * uneven[i];
      // Beside the lungs the abdomen has no border to be seen.
      const edge = 0.005 + pixel + 0.09 * Math.min(1, Math.max(0, u / halfWidth - 0.97) / 0.1);
      value += abdomen * soft(half - 0.03 - u, 0.05) * soft(y - floor[k], edge);
      if (bubble > 0 && y > dome.left) {
        const a = ((k + 0.5) / size - bubbleX) / 0.075, b = (y - bubbleY) / 0.035;
        value -= bubble * Math.max(0, Math.min(1, 2.5 * (1 - a * a - b * b)));
      }
      if (breast > 0 && Math.abs(y - breastY) < breastSize) {
        const a = (u - 0.56 * halfWidth) / breastSize, b = (y - breastY) / breastSize;
        const inBreast = 1 - a * a - b * b;
        // The lower edge of a breast is seen, the upper one is not.
        if (inBreast > 0) {
          value += breast * Math.sqrt(inBreast) * Math.min(1, 0.5 + Math.max(0, b));
        }
      }
      // Head of the humerus and blade of the scapula.
      const a = u - halfWidth - 0.115, b = y - shoulderY;
      value += 0.11 * soft(0.06 - Math.sqrt(a * a + b * b), 0.018);
      const blade = Math.min(u - halfWidth * (0.93 - 0.5 * (y - bladeY + 0.1)), bladeY + 0.1 - y);
      if (y > apex + 0.08) value += 0.055 * soft(blade, 0.008) * soft(1.28 * halfWidth - u, 0.02);
      map[i] = value * skin;
    }
  }
}

/** Windpipe, spine and the organs of the middle. */
function middle(chest: Chest, map: Float32Array, inLung: Float32Array): void {
  const { size, random, centre, halfWidth, apex, heart, aorta, mediastinum } = chest;
  const strength = random.uniform(0.06, 0.16), pixel = 0.5 / size;
  const hilum = random.uniform(0.1, 0.17);
  for (let j = 0, i = 0; j < size; j++) {
    const y = (j + 0.5) / size;
    // Bodies and discs.
    const level = strength * (0.86 + 0.14 * Math.cos(150 * y));
    const air = 0.19 * soft(apex + 0.2 - y, 0.02);
    for (let k = 0; k < size; k++, i++) {
      const x = (k + 0.5) / size, u = Math.abs(x - centre);
      if (u > 1.05 * halfWidth) continue;
      let value = 0.3 * soft(heart.values[i], 0.014 + pixel);
      value += 0.11 * soft(aorta.values[i], 0.01 + pixel);
      value += 0.18 * soft(mediastinum.values[i], 0.02 + pixel) * (1 - inLung[i]);
      if (u < 0.06) {
        value += level * soft(0.034 - u, 0.01 + pixel);
        value -= air * soft(0.017 - Math.abs(x - centre + 0.004), 0.005 + pixel);
      }
      // The roots of the lungs.
      const a = (u - 0.085) / 0.05, b = (y - apex - 0.31 + (x > centre ? 0.015 : 0)) / 0.075;
      value += hilum * inLung[i] * Math.exp(-a * a - b * b);
      map[i] += value;
    }
  }
}

/** Where there is lung, from 0 to 1. */
function lungShare({ size, lung }: Chest): Float32Array {
  const share = new Float32Array(size * size), width = 0.008 + 0.4 / size;
  const right = lung.right.values, left = lung.left.values;
  for (let i = 0; i < share.length; i++) {
    const value = Math.max(right[i], left[i]);
    if (value > -width) share[i] = soft(value, width);
  }
  return share;
}

/** The thin white line of the visceral pleura, on the inner border of the free air. */
function addPleuralLine(map: Float32Array, { size, values }: Field): void {
  const width = Math.max(0.004, 0.45 / size), strength = 0.09 * 0.004 / width;
  for (let i = 0; i < values.length; i++) {
    const away = Math.abs(values[i]);
    if (away < width) map[i] += (0.03 + strength) * (1 - away / width);
  }
}

/** Adds the density of a finding. */
function addFinding(
  map: Float32Array,
  { field, density, texture, blur }: ChestFinding,
  structure: Float32Array,
): void {
  const { size, values, bounds: [x0, y0, x1, y1] } = field;
  const width = Math.max(blur, 0.5 / size);
  for (let j = y0; j < y1; j++) {
    for (let k = x0, i = j * size + k; k < x1; k++, i++) {
      const inside = soft(values[i], width);
      if (inside > 0) map[i] += inside * density * (1 + texture * structure[i]);
    }
  }
}

/** Attenuation at every pixel, about 0 (air) to 2 (spine behind the heart). */
export function attenuation(chest: Chest, findings: readonly ChestFinding[]): Float32Array {
  const { size, random, centre, halfWidth } = chest;
  const map = new Float32Array(size * size);
  tissue(chest, map);
  const inLung = lungShare(chest);
  middle(chest, map, inLung);
  const grain = new Noise(random, 6), fine = grain.map(size, 26, 2);
  const marks = vessels(chest), marking = random.uniform(0.08, 0.17);
  const skeleton = bones(chest), air = random.uniform(0.5, 0.58);
  // Neither free air nor fluid has vessels.
  const empty = findings.filter(({ label }) =>
    label === "Pneumothorax" || label === "Pleural effusion"
  );
  for (let i = 0; i < map.length; i++) {
    const share = inLung[i];
    if (map[i] > 0) map[i] += skeleton[i];
    if (share === 0) continue;
    const edge = Math.abs((i % size + 0.5) / size - centre) / halfWidth;
    let marked = marking * marks[i];
    for (const { field } of empty) marked *= 1 - soft(field.values[i], 0.004);
    // Lungs are mostly air, a little denser towards the middle.
    map[i] += share * (marked - air + 0.06 * fine[i] + 0.07 * (1 - edge));
  }
  const structure = grain.map(size, 18, 3);
  for (const finding of findings) {
    if (finding.density !== 0) addFinding(map, finding, structure);
    if (finding.label === "Pneumothorax") addPleuralLine(map, finding.field);
  }
  for (let i = 0; i < map.length; i++) map[i] = Math.max(0, map[i]);
  return map;
}
