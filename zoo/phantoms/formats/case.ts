/**
 * One phantom with everything that datasets say of a picture: what the writers of all formats start from.
 *
 * @module
 */
import type { Example, Raster } from "@medvlm/core";
import { type ChestPhantom, chestPhantom } from "../chest.ts";
import { chestExamples, chestThings } from "../chest_text.ts";
import { type Split, splitCounts, splitIndex } from "../splits.ts";
import type { Thing } from "../thing_examples.ts";
import { type VolumePhantom, volumePhantom } from "../volume.ts";
import { sliceExamples, slicePicture, sliceThings } from "../volume_slices.ts";
import { volumeExamples } from "../volume_text.ts";

/** What is imitated: chest radiographs or CT. */
export type Kind = "cxr" | "ct";

/** A phantom and its place in a dataset. */
export interface PhantomCase {
  /** Number in the dataset, from 0; also the patient. */
  readonly number: number;
  /** Unique among all phantoms. */
  readonly id: string;
  readonly kind: Kind;
  /** Absent in datasets without parts. */
  readonly split?: Split;
  /** 8-bit grey: the radiograph, or the middle slice of the volume in the usual window. */
  readonly picture: Raster;
  /** What the picture shows. */
  readonly things: readonly Thing[];
  /** What can be asked of the picture, with masks and boxes in its pixels. */
  readonly examples: readonly Example[];
  readonly findings: string;
  readonly impression: string;
  readonly sex: "F" | "M";
  readonly age: number;
  readonly chest?: ChestPhantom;
  readonly volume?: VolumePhantom;
}

/** Which phantoms a dataset has. */
export interface CaseOptions {
  readonly kind: Kind;
  readonly count: number;
  /** Pixels in a row. */
  readonly size: number;
  /** Slices of CT volumes. */
  readonly slices: number;
  readonly seed: number;
  /** Parts of the dataset; none when it has no parts. */
  readonly parts: readonly Split[];
}

/** Findings and impression, which every report example carries. */
function sections(examples: readonly Example[]): { findings: string; impression: string } {
  const attributes = examples.find(({ task }) => task === "report")!.attributes!;
  return { findings: attributes.findings, impression: attributes.impression };
}

function chestCase({ size, seed }: CaseOptions, index: number) {
  const chest = chestPhantom({ size, seed, index }), examples = chestExamples(chest);
  return {
    id: chest.id,
    picture: chest.image,
    things: chestThings(chest),
    examples,
    ...sections(examples),
    sex: chest.sex,
    age: chest.age,
    chest,
  };
}

/** Answers of whole volumes are true of a picture only when it is the whole volume. */
function volumeCase({ size, slices, seed }: CaseOptions, index: number) {
  const volume = volumePhantom({ size, slices, seed, index });
  const middle = Math.floor(slices / 2);
  const whole = volumeExamples(volume);
  const examples = [
    ...(slices === 1 ? whole.filter(({ findings }) => findings === undefined) : []),
    ...sliceExamples(volume, middle),
  ];
  return {
    id: volume.id,
    picture: slicePicture(volume, middle),
    things: sliceThings(volume, middle),
    examples,
    ...sections(whole),
    sex: volume.sex,
    age: volume.age,
    volume,
  };
}

/** The phantoms of a dataset in order, part by part. The same options give the same phantoms. */
export function* phantomCases(options: CaseOptions): Generator<PhantomCase> {
  const { kind, count, parts } = options;
  const counts = splitCounts(count, parts);
  let number = 0;
  for (const split of ["train", "validate", "test"] as const) {
    for (let n = 0; n < counts[split]; n++, number++) {
      const index = splitIndex(split, n);
      const drawn = kind === "cxr" ? chestCase(options, index) : volumeCase(options, index);
      yield { number, kind, ...(parts.length > 0 ? { split } : {}), ...drawn };
    }
  }
}
