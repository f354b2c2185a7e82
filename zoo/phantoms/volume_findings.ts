/**
 * Findings of the CT phantoms: where they lie and what they change.
 *
 * @module
 */
import type { Box3 } from "@medvlm/core";
import type { Random } from "./random.ts";
import { structureNames, values } from "./volume_labels.ts";

/** Kinds of finding, in the order in which reports name them. */
export const volumeLabels = [
  "Lung nodule",
  "Pleural effusion",
  "Liver lesion",
  "Kidney cyst",
] as const;

/** Name of a kind of finding. */
export type VolumeLabel = typeof volumeLabels[number];

/** One finding. */
export interface VolumeInstance {
  /** What it is. */
  readonly label: VolumeLabel;
  /** Its value in the volume of instances, from 1. */
  readonly value: number;
  /** Structure it lies in, as TotalSegmentator names it; the lower lobe for effusions. */
  readonly structure: string;
  /** Absent for the liver. */
  readonly side?: "right" | "left";
  /** Size. */
  readonly severity: "small" | "moderate" | "large";
  /** Diameter of round findings, depth of the fluid of effusions, in whole millimetres. */
  readonly millimetres: number;
  /** Tight box in voxels, `[x0, y0, z0, x1, y1, z1]`, upper ends exclusive. */
  readonly box: Box3;
}

/** What findings are drawn into. All volumes have x fastest, then y, then z. */
export interface Canvas {
  readonly size: readonly [number, number, number];
  /** Millimetres per voxel. */
  readonly spacing: readonly [number, number, number];
  readonly hu: Int16Array;
  readonly labels: Uint8Array;
  readonly instances: Uint8Array;
}

const severities = ["small", "moderate", "large"] as const;

/** What a finding is before its voxels are known. */
type Draft = Omit<VolumeInstance, "value" | "box">;

/** Sets the voxels of a finding and measures its box. Undefined when there are none. */
function stamp(
  canvas: Canvas,
  value: number,
  range: Box3,
  inside: (i: number, j: number, k: number, at: number) => boolean,
  density: number,
): Box3 | undefined {
  const [nx, ny, nz] = canvas.size;
  let box: [number, number, number, number, number, number] | undefined;
  for (let k = Math.max(0, range[2]); k < Math.min(nz, range[5]); k++) {
    for (let j = Math.max(0, range[1]); j < Math.min(ny, range[4]); j++) {
      for (let i = Math.max(0, range[0]); i < Math.min(nx, range[3]); i++) {
        const at = (k * ny + j) * nx + i;
        if (canvas.instances[at] !== 0 || !inside(i, j, k, at)) continue;
        canvas.instances[at] = value;
        canvas.hu[at] = density;
        box ??= [i, j, k, i + 1, j + 1, k + 1];
        box = [
          Math.min(box[0], i),
          Math.min(box[1], j),
          Math.min(box[2], k),
          Math.max(box[3], i + 1),
          Math.max(box[4], j + 1),
          Math.max(box[5], k + 1),
        ];
      }
    }
  }
  return box;
}

/** A voxel of one of these structures, chosen at random among all; -1 where there is none. */
function voxelOf(canvas: Canvas, random: Random, structures: ReadonlySet<number>): number {
  let count = 0;
  for (const label of canvas.labels) if (structures.has(label)) count++;
  if (count === 0) return -1;
  let left = random.whole(0, count - 1);
  for (let at = 0; at < canvas.labels.length; at++) {
    if (structures.has(canvas.labels[at]) && left-- === 0) return at;
  }
  return -1;
}

/** A ball in one of these structures. `allows` says which voxels it may take. */
function ball(
  canvas: Canvas,
  random: Random,
  value: number,
  structures: ReadonlySet<number>,
  radii: readonly number[],
  density: number,
  allows: (label: number, hu: number, own: number) => boolean,
): { draft: Omit<Draft, "label">; box: Box3 } | undefined {
  const [nx, ny] = canvas.size, [sx, sy, sz] = canvas.spacing;
  const severity = random.whole(0, 2);
  // What is smaller than a voxel or two cannot be seen.
  const radius = Math.max(radii[severity] * random.uniform(0.9, 1.1), 1.2 * sx, 0.55 * sz);
  const flat = random.uniform(0.85, 1.1);
  for (let attempt = 0; attempt < 12; attempt++) {
    const centre = voxelOf(canvas, random, structures);
    if (centre < 0) return undefined;
    const own = canvas.labels[centre];
    const ci = centre % nx, cj = Math.floor(centre / nx) % ny, ck = Math.floor(centre / (nx * ny));
    const rx = Math.ceil(radius / sx), ry = Math.ceil(radius / sy), rz = Math.ceil(radius / sz);
    const range: Box3 = [ci - rx, cj - ry, ck - rz, ci + rx + 1, cj + ry + 1, ck + rz + 1];
    let all = 0, free = 0;
    const inBall = (i: number, j: number, k: number) =>
      Math.hypot((i - ci) * sx, (j - cj) * sy / flat, (k - ck) * sz) <= radius;
    for (let j = range[1]; j < range[4]; j++) {
      for (let i = range[0]; i < range[3]; i++) {
        if (!inBall(i, j, ck)) continue;
        all++;
        if (i < 0 || j < 0 || i >= nx || j >= ny) continue;
        const at = (ck * ny + j) * nx + i;
        const open = allows(canvas.labels[at], canvas.hu[at], own);
        if (canvas.instances[at] === 0 && open) free++;
      }
    }
    if (free < 0.8 * all && attempt < 11) continue;
    if (free < 0.4 * all) return undefined;
    const box = stamp(
      canvas,
      value,
      range,
      (i, j, k, at) => inBall(i, j, k) && allows(canvas.labels[at], canvas.hu[at], own),
      density,
    );
    if (box === undefined) return undefined;
    return {
      draft: {
        structure: structureNames[own],
        severity: severities[severity],
        millimetres: Math.round(2 * radius),
      },
      box,
    };
  }
  return undefined;
}

/** Fluid behind a lung of a patient who lies on the back. */
function effusion(
  canvas: Canvas,
  random: Random,
  value: number,
  side: "right" | "left",
  lowest: number,
): { draft: Omit<Draft, "label">; box: Box3 } | undefined {
  const lung: ReadonlySet<number> = new Set<number>(values.lung[side]);
  const [nx, ny, nz] = canvas.size, [, sy, sz] = canvas.spacing;
  let back = 0, count = 0, first = nx, last = 0;
  for (let at = 0; at < canvas.labels.length; at++) {
    if (!lung.has(canvas.labels[at])) continue;
    count++;
    back = Math.max(back, Math.floor(at / nx) % ny);
    first = Math.min(first, at % nx);
    last = Math.max(last, at % nx);
  }
  if (count < 50) return undefined;
  const level = random.whole(0, 2);
  const depth = Math.max([14, 28, 46][level] * random.uniform(0.9, 1.1), 2 * sy);
  const middle = (first + last) / 2, half = Math.max(1, (last - first) / 2);
  const box = stamp(canvas, value, [0, 0, 0, nx, ny, nz], (i, j, k, at) => {
    const z = lowest + k * sz;
    // The surface climbs along the walls, and there is less fluid further up.
    const climb = 0.85 + 0.6 * ((i - middle) / half) ** 2;
    const share = climb * Math.min(1, Math.max(0, (330 - z) / 120));
    return lung.has(canvas.labels[at]) && (back + 1 - j) * sy < depth * share;
  }, 12);
  if (box === undefined) return undefined;
  for (let at = 0; at < canvas.labels.length; at++) {
    if (canvas.instances[at] === value) canvas.labels[at] = 0;
  }
  const structure = structureNames[values.lung[side].at(-1)!];
  return {
    draft: { side, structure, severity: severities[level], millimetres: Math.round(depth) },
    box,
  };
}

/**
 * Draws findings into a volume. Fluid takes the place of the lung in `labels`; lesions stay part of their organ.
 *
 * @param lowest Height of the first slice in millimetres.
 */
export function drawVolumeFindings(
  canvas: Canvas,
  random: Random,
  kinds: ReadonlySet<VolumeLabel>,
  lowest: number,
): VolumeInstance[] {
  const found: VolumeInstance[] = [];
  const add = (
    label: VolumeLabel,
    drawn: { draft: Omit<Draft, "label">; box: Box3 } | undefined,
  ) => {
    if (drawn === undefined) return;
    const side = /_(right|left)(_|$)/.exec(drawn.draft.structure)?.[1] as
      | "right"
      | "left"
      | undefined;
    found.push({
      ...drawn.draft,
      ...(side ? { side } : {}),
      label,
      value: found.length + 1,
      box: drawn.box,
    });
  };
  const lungs = new Set<number>([...values.lung.right, ...values.lung.left]);
  if (kinds.has("Pleural effusion")) {
    const sides = random.chance(0.3)
      ? (["right", "left"] as const)
      : [random.chance(0.5) ? "right" as const : "left" as const];
    for (const side of sides) {
      add("Pleural effusion", effusion(canvas, random, found.length + 1, side, lowest));
    }
  }
  if (kinds.has("Lung nodule")) {
    for (let n = random.whole(1, 4); n > 0; n--) {
      add(
        "Lung nodule",
        ball(
          canvas,
          random,
          found.length + 1,
          lungs,
          [5, 8, 14],
          42,
          (label) => lungs.has(label),
        ),
      );
    }
  }
  if (kinds.has("Liver lesion")) {
    const density = random.pick([12, 48, 62]);
    for (let n = random.whole(1, 3); n > 0; n--) {
      const liver = values.liver;
      add(
        "Liver lesion",
        ball(
          canvas,
          random,
          found.length + 1,
          new Set([liver]),
          [8, 13, 22],
          density,
          (label) => label === liver,
        ),
      );
    }
  }
  if (kinds.has("Kidney cyst")) {
    const kidneys = new Set<number>([values.kidney.right, values.kidney.left]);
    for (let n = random.whole(1, 2); n > 0; n--) {
      add(
        "Kidney cyst",
        ball(
          canvas,
          random,
          found.length + 1,
          kidneys,
          [8, 12, 19],
          6,
          (label, hu, own) => label === own || label === 0 && hu < -60,
        ),
      );
    }
  }
  return found;
}
