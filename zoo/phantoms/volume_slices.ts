/**
 * Slices of CT phantoms as pictures, with masks of organs and findings, and the organs of whole volumes.
 *
 * @module
 */
import type { Box3, Example, Mask, Raster } from "@medvlm/core";
import { Random } from "./random.ts";
import {
  type Common,
  grounded,
  regionExamples,
  segmentationExamples,
  type Thing,
  thingOf,
} from "./thing_examples.ts";
import type { VolumePhantom } from "./volume.ts";
import { volumeLabels } from "./volume_findings.ts";
import { values } from "./volume_labels.ts";

/** Marks the draws of texts about slices. */
const TEXT_DRAWS = 0x736c6963;

/** Organs that slices name, with the values that belong to them in a volume of labels. */
export const organs: Readonly<Record<string, readonly number[]>> = {
  "right lung": values.lung.right,
  "left lung": values.lung.left,
  "heart": [values.heart],
  "aorta": [values.aorta],
  "liver": [values.liver],
  "spleen": [values.spleen],
  "right kidney": [values.kidney.right],
  "left kidney": [values.kidney.left],
  "stomach": [values.stomach],
};

/** Organ of every value of a volume of labels, an index into the names from 1; 0 is none. */
const organOf = new Uint8Array(256);
const organNames = Object.keys(organs);
Object.values(organs).forEach((all, index) => {
  for (const value of all) organOf[value] = index + 1;
});

/** The organs a volume shows, with their tight boxes in voxels. */
export function organBoxes(
  { labels, size: [nx, ny] }: Pick<VolumePhantom, "labels" | "size">,
): { name: string; box: Box3 }[] {
  const boxes: number[][] = organNames.map(() => [Infinity, Infinity, Infinity, 0, 0, 0]);
  for (let at = 0, i = 0, j = 0, k = 0; at < labels.length; at++) {
    const organ = organOf[labels[at]];
    if (organ > 0) {
      const box = boxes[organ - 1];
      if (i < box[0]) box[0] = i;
      if (j < box[1]) box[1] = j;
      if (k < box[2]) box[2] = k;
      if (i >= box[3]) box[3] = i + 1;
      if (j >= box[4]) box[4] = j + 1;
      if (k >= box[5]) box[5] = k + 1;
    }
    if (++i === nx) {
      i = 0;
      if (++j === ny) {
        j = 0;
        k++;
      }
    }
  }
  return organNames.flatMap((name, index) => {
    const [x0, y0, z0, x1, y1, z1] = boxes[index];
    return x1 > 0 ? [{ name, box: [x0, y0, z0, x1, y1, z1] as const }] : [];
  });
}

/** Middle and width of a range of Hounsfield units that becomes black to white. */
export interface Window {
  /** In the middle of the greys. */
  readonly centre: number;
  /** Black to white. */
  readonly width: number;
}

/** The usual windows. */
export const windows: Readonly<Record<"soft tissue" | "lung", Window>> = {
  "soft tissue": { centre: 40, width: 400 },
  "lung": { centre: -500, width: 1500 },
};

/** The window that a reader would choose: `lung` where lungs are the largest part of what is named. */
export function usualWindow({ labels, size: [nx, ny] }: VolumePhantom, slice: number): Window {
  let lung = 0, other = 0;
  for (let at = slice * nx * ny; at < (slice + 1) * nx * ny; at++) {
    const organ = organOf[labels[at]];
    if (organ === 1 || organ === 2) lung++;
    else if (organ > 0) other++;
  }
  return windows[lung > 2 * other ? "lung" : "soft tissue"];
}

/** A slice as an 8-bit picture; the patient's right is at its left, the front above. @throws {RangeError} for other slices. */
export function slicePicture(
  phantom: VolumePhantom,
  slice: number,
  { centre, width }: Window = usualWindow(phantom, slice),
): Raster {
  const { hu, size: [nx, ny, nz] } = phantom;
  if (!Number.isInteger(slice) || slice < 0 || slice >= nz) {
    throw new RangeError(`There is no slice ${slice} in a volume of ${nz}`);
  }
  const data = new Uint8Array(nx * ny), start = slice * nx * ny, low = centre - width / 2;
  for (let at = 0; at < data.length; at++) {
    data[at] = Math.min(255, Math.max(0, Math.round(255 * (hu[start + at] - low) / width)));
  }
  return { width: nx, height: ny, channels: 1, data, bitDepth: 8 };
}

/** What a slice shows: organs without the findings in them, and findings. */
export function sliceThings(phantom: VolumePhantom, slice: number): Thing[] {
  const { labels, instances, findings, size: [nx, ny] } = phantom;
  const start = slice * nx * ny, organMasks = new Map<number, Uint8Array>();
  const findingMasks = new Map<number, Uint8Array>();
  const set = (masks: Map<number, Uint8Array>, value: number, at: number) => {
    let mask = masks.get(value);
    if (mask === undefined) masks.set(value, mask = new Uint8Array(nx * ny));
    mask[at] = 1;
  };
  for (let at = 0; at < nx * ny; at++) {
    const instance = instances[start + at], organ = organOf[labels[start + at]];
    if (instance > 0) set(findingMasks, instance, at);
    else if (organ > 0) set(organMasks, organ, at);
  }
  const mask = (data: Uint8Array | undefined): Mask => ({
    width: nx,
    height: ny,
    data: data ?? new Uint8Array(nx * ny),
  });
  return [
    ...organNames.flatMap((name, index) => thingOf(name, name, mask(organMasks.get(index + 1)))),
    ...findings.flatMap(({ label, value }) =>
      thingOf(label.toLowerCase(), label, mask(findingMasks.get(value)))
    ),
  ];
}

/**
 * Examples about one slice as a picture: regions, masks, and findings with boxes. The same phantom gives the same examples.
 *
 * @param image Name that the examples give the picture. Default: id and number of the slice with `.png`.
 */
export function sliceExamples(
  phantom: VolumePhantom,
  slice: number,
  image = `${phantom.id}-${slice}.png`,
): Example[] {
  const random = new Random(phantom.seed, phantom.index, TEXT_DRAWS + slice);
  const { sex, age } = phantom, id = `${phantom.id}/slice/${slice}`;
  const common: Common = {
    image,
    patient: phantom.id,
    attributes: { sex, age: String(age), modality: "CT", slice: String(slice) },
  };
  const things = sliceThings(phantom, slice);
  const found = volumeLabels.flatMap((label) => {
    const instances = things.filter((thing) => thing.label === label);
    return instances.length > 0 ? [{ label, instances }] : [];
  });
  const names = found.map(({ label }) => label);
  let at = 0;
  return [
    ...regionExamples(id, things, common, random),
    ...segmentationExamples(id, things, common, random, "CT slice"),
    {
      ...common,
      id: `${id}/local`,
      task: "ground-box",
      prompt: "Which findings does this CT slice show, and where?",
      answer: names.length === 0 ? "No finding." : `${names.join(", ")}.`,
      findings: found.map(({ label, instances }) => {
        const span = [at, at + label.length] as const;
        at = span[1] + 2;
        return grounded(label, instances, span);
      }),
      labels: names.length === 0 ? ["No finding"] : names,
      category: "local",
    },
  ];
}
