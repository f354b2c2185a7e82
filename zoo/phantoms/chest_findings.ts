/**
 * Findings of a chest radiograph phantom: what they are called, where they lie, and how they change the picture.
 *
 * @module
 */
import type { Box } from "@medvlm/core";
import { type Chest, type Side, sideSign, wallAt } from "./chest_anatomy.ts";
import { ellipse, type Field, type Shape } from "./field.ts";
import type { Random } from "./random.ts";

/** Names as in VinDr-CXR's label list. */
export const chestLabels = [
  "Cardiomegaly",
  "Aortic enlargement",
  "Pleural effusion",
  "Pneumothorax",
  "Consolidation",
  "Nodule/Mass",
  "Atelectasis",
] as const;

/** Name of a finding. */
export type ChestLabel = typeof chestLabels[number];

/** Third of a lung. */
export type Zone = "upper" | "middle" | "lower";

/** One instance of a finding. */
export interface ChestFinding {
  /** What it is. */
  readonly label: ChestLabel;
  /** Absent for findings of the middle. */
  readonly side?: Side;
  /** Third of the lung it lies in; absent for findings of the middle. */
  readonly zone?: Zone;
  /** Size, or degree for heart and aorta. */
  readonly severity: "small" | "moderate" | "large";
  /** Region the finding occupies. */
  readonly field: Field;
  /** Added attenuation inside, negative where there is more air. */
  readonly density: number;
  /** Structure inside: a share of the density that varies. */
  readonly texture: number;
  /** Softness of the edge, in units of the side. */
  readonly blur: number;
}

const severities = ["small", "moderate", "large"] as const;

/** Where a finding may lie. */
interface Place {
  readonly side: Side;
  readonly zone: Zone;
  readonly x: number;
  readonly y: number;
}

/**
 * Draws a place inside a lung where nothing else is, so that no finding hides another. Undefined where none was found.
 *
 * @param radius What must be free around it, in units of the picture's side.
 */
function place(
  chest: Chest,
  others: readonly ChestFinding[],
  radius: number,
  choose: () => { side: Side; zone: Zone },
): Place | undefined {
  const { random } = chest;
  for (let attempt = 0; attempt < 20; attempt++) {
    const { side, zone } = choose();
    const third = { upper: 0.22, middle: 0.5, lower: 0.76 }[zone];
    const height = chest.dome[side] - chest.apex;
    const x = chest.centre + sideSign(side) * chest.halfWidth * random.uniform(0.35, 0.72);
    const y = chest.apex + height * (third + random.uniform(-0.07, 0.07));
    if (chest.lung[side].at(x, y) < 0.7 * radius) continue;
    if (others.every(({ field, label }) => label === "Cardiomegaly" || field.at(x, y) < -radius)) {
      return { side, zone, x, y };
    }
  }
  return undefined;
}

/** The part of the picture around a shape of this radius in which its edge is soft or others must keep away from it. */
function around(x: number, y: number, radius: number): Box {
  const reach = radius + 0.12;
  return [x - reach, y - reach, x + reach, y + reach];
}

const zones = ["upper", "middle", "lower"] as const;

function effusion(chest: Chest, random: Random, side: Side): ChestFinding {
  const level = random.whole(0, 2);
  const sign = sideSign(side);
  const surface = chest.dome[side] - [0.0, 0.07, 0.17][level]! - random.uniform(0, 0.02);
  // The meniscus climbs along the chest wall.
  const fluid: Shape = (x, y) => {
    const u = (x - chest.centre) * sign / chest.halfWidth;
    return y - surface + 0.22 * Math.max(0, u - 0.35) ** 2 + 0.004 * chest.noise.value(x, y, 6, 2);
  };
  return {
    label: "Pleural effusion",
    side,
    zone: "lower",
    severity: severities[level]!,
    field: chest.lung[side].cut(fluid),
    density: 0.78,
    texture: 0.06,
    blur: 0.01,
  };
}

function pneumothorax(chest: Chest, random: Random, side: Side): ChestFinding {
  const level = random.whole(0, 2);
  const sign = sideSign(side);
  const depth = [0.13, 0.22, 0.34][level]!;
  const lower = chest.apex + (chest.dome[side] - chest.apex) * random.uniform(0.55, 0.8);
  // The collapsed lung draws back from apex and wall: what is left outside its line is air.
  const air: Shape = (x, y) => {
    const u = (x - chest.centre) * sign / chest.halfWidth;
    const wall = wallAt((y - chest.apex) / (chest.dome[side] - chest.apex)) -
      depth * (1 - Math.max(0, y - chest.apex) / (lower - chest.apex));
    const inside = Math.min((wall - u) * chest.halfWidth, y - chest.apex - depth * 0.22);
    return Math.min(lower - y, -inside - 0.006 * chest.noise.value(x, y, 4, 2));
  };
  return {
    label: "Pneumothorax",
    side,
    zone: "upper",
    severity: severities[level]!,
    field: chest.lung[side].cut(air),
    density: -0.16,
    texture: 0,
    blur: 0.004,
  };
}

function consolidation(
  chest: Chest,
  others: readonly ChestFinding[],
  side: Side,
): ChestFinding | undefined {
  const { random } = chest;
  const level = random.whole(0, 2);
  const radius = [0.05, 0.075, 0.1][level]!;
  const at = place(chest, others, 0.6 * radius, () => ({ side, zone: random.pick(zones) }));
  if (at === undefined) return undefined;
  const { x, y, zone } = at;
  const blob = ellipse(x, y, radius * random.uniform(0.9, 1.3), radius, random.uniform(-0.6, 0.6));
  const ragged: Shape = (px, py) => {
    const value = blob(px, py);
    return Math.abs(value) > 0.1 ? value : value + 0.025 * chest.noise.value(px, py, 9, 3);
  };
  return {
    label: "Consolidation",
    side,
    zone,
    severity: severities[level]!,
    field: chest.lung[side].cut(ragged, around(x, y, 1.3 * radius)),
    density: 0.42,
    texture: 0.45,
    blur: 0.03,
  };
}

function nodule(chest: Chest, others: readonly ChestFinding[]): ChestFinding | undefined {
  const { random } = chest;
  const level = random.whole(0, 2);
  const radius = [0.014, 0.022, 0.036][level]! * random.uniform(0.9, 1.1);
  const at = place(chest, others, radius + 0.015, () => ({
    side: random.chance(0.5) ? "left" : "right",
    zone: random.pick(zones),
  }));
  if (at === undefined) return undefined;
  const { x, y, side, zone } = at;
  return {
    label: "Nodule/Mass",
    side,
    zone,
    severity: severities[level]!,
    field: chest.lung[side].cut(
      ellipse(x, y, radius, radius * random.uniform(0.85, 1.15), random.uniform(0, 3)),
      around(x, y, 1.15 * radius),
    ),
    density: 0.34,
    texture: 0.1,
    blur: 0.006,
  };
}

function atelectasis(chest: Chest, others: readonly ChestFinding[]): ChestFinding | undefined {
  const { random } = chest;
  const at = place(chest, others, 0.03, () => ({
    side: random.chance(0.5) ? "left" : "right",
    zone: "lower",
  }));
  if (at === undefined) return undefined;
  const { x, y, side } = at;
  const level = random.whole(0, 2);
  const tilt = sideSign(side) * random.uniform(-0.25, 0.1);
  const length = [0.06, 0.085, 0.11][level]!;
  const band = ellipse(x, y, length, [0.009, 0.013, 0.02][level]!, tilt);
  return {
    label: "Atelectasis",
    side,
    zone: "lower",
    severity: severities[level]!,
    field: chest.lung[side].cut(band, around(x, y, length)),
    density: 0.3,
    texture: 0.15,
    blur: 0.006,
  };
}

/** How often findings occur. */
export interface Prevalence {
  /** Probability of a picture without any finding. */
  readonly normal: number;
  /** Probability of each kind in the other pictures. */
  readonly each: number;
}

/** Which kinds of finding a picture has; the anatomy must know before it is drawn. */
export function drawKinds(random: Random, { normal, each }: Prevalence): ReadonlySet<ChestLabel> {
  const healthy = random.chance(normal);
  const kinds = chestLabels.filter(() => random.chance(each));
  if (healthy) return new Set();
  return new Set(kinds.length > 0 ? kinds : [random.pick(chestLabels)]);
}

/**
 * The instances of every kind. Nodules are 1 to 5; effusions and consolidations may be on
 * both sides. What finds no free place is left out.
 */
export function drawFindings(chest: Chest, kinds: ReadonlySet<ChestLabel>): ChestFinding[] {
  const { random } = chest;
  const findings: ChestFinding[] = [];
  const add = (finding: ChestFinding | undefined) => {
    if (finding !== undefined) findings.push(finding);
  };
  const side = (): Side => random.chance(0.5) ? "left" : "right";
  const whole = { texture: 0, blur: 0, density: 0 };
  if (kinds.has("Cardiomegaly")) {
    const severity = chest.cardiothoracic > 0.64
      ? "large"
      : chest.cardiothoracic > 0.6
      ? "moderate"
      : "small";
    findings.push({ label: "Cardiomegaly", severity, field: chest.heart, ...whole });
  }
  if (kinds.has("Aortic enlargement")) {
    findings.push({
      label: "Aortic enlargement",
      severity: chest.knob > 0.07 ? "moderate" : "small",
      field: chest.aorta,
      ...whole,
    });
  }
  const sides = (both: number): Side[] => random.chance(both) ? ["right", "left"] : [side()];
  // Fluid and free air are kept on different sides: together they would need a level of their own.
  const air = side();
  if (kinds.has("Pneumothorax")) add(pneumothorax(chest, random, air));
  if (kinds.has("Pleural effusion")) {
    const free = kinds.has("Pneumothorax")
      ? [air === "left" ? "right" as const : "left" as const]
      : sides(0.3);
    for (const one of free) add(effusion(chest, random, one));
  }
  if (kinds.has("Consolidation")) {
    for (const one of sides(0.25)) add(consolidation(chest, findings, one));
  }
  if (kinds.has("Atelectasis")) add(atelectasis(chest, findings));
  if (kinds.has("Nodule/Mass")) {
    for (let n = random.whole(1, 5); n > 0; n--) add(nodule(chest, findings));
  }
  return findings;
}
