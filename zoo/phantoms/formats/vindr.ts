/**
 * VinDr-CXR: DICOM files, boxes of three readers for training and of their agreement for testing, labels of the pictures.
 *
 * @module
 */
import { VINDR_LOCAL_LABELS } from "../../data/vindr_boxes.ts";
import type { ChestPhantom } from "../chest.ts";
import { globalLabels, localLabels } from "../chest_text.ts";
import { Random } from "../random.ts";
import type { PhantomCase } from "./case.ts";
import { dicomFile } from "./dicom.ts";
import { csvTable, Parts, type PhantomFormat, writeFile } from "./format.ts";

/** Width of a chest radiograph in millimetres. */
const WIDTH = 400;
/** Marks the draws of identifiers. */
const UID_DRAWS = 0x75696473;

/** A number below 2^128 of its own for every phantom. */
export function uniqueNumber({ seed, index }: { seed: number; index: number }): bigint {
  return new Random(seed, index, UID_DRAWS).words(4)
    .reduce((sum, word) => (sum << 32n) | BigInt(word), 0n);
}

/**
 * The radiograph in 14 bits: values outside the window exist, so that a reader must heed it. Every fourth is stored with white
 * as 0.
 */
export function radiographDicom(chest: ChestPhantom, number: number): Uint8Array {
  const { raw, image: { width, height }, id, sex, age } = chest;
  const inverted = number % 4 === 3, last = 2 ** 14 - 1;
  const stored = raw.map((value) => inverted ? last - 500 - 2 * value : 500 + 2 * value);
  const centre = 500 + 4095;
  return dicomFile({
    width,
    height,
    data: stored,
    bits: 14,
    photometric: inverted ? "MONOCHROME1" : "MONOCHROME2",
    window: { centre: inverted ? last - centre : centre, width: 8190 },
    modality: "DX",
    unique: uniqueNumber(chest),
    patient: { id, sex, age },
    spacing: WIDTH / width,
  });
}

/** Columns of the labels; the test file writes one of them in the singular. */
function labelColumns(test: boolean): string[] {
  const other = test ? "Other disease" : "Other diseases";
  const diagnoses = ["COPD", "Lung tumor", "Pneumonia", "Tuberculosis", other, "No finding"];
  return [...VINDR_LOCAL_LABELS, ...diagnoses];
}

function labelFlags(chest: ChestPhantom): number[] {
  const chosen = new Set<string>([...localLabels(chest), ...globalLabels(chest)]);
  return labelColumns(false).map((label) => chosen.has(label) ? 1 : 0);
}

function boxRows({ findings }: ChestPhantom): (string | number)[][] {
  if (findings.length === 0) return [["No finding", "", "", "", ""]];
  return findings.map(({ label, box }) => [label, ...box]);
}

const READERS = ["R1", "R2", "R3"];

/** VinDr-CXR. */
export const vindr: PhantomFormat = {
  name: "vindr",
  about: "VinDr-CXR: DICOM, boxes and labels as CSV",
  kinds: ["cxr"],
  reader: "vindr_cxr",
  parts: ["train", "test"],
  async write(cases, folder) {
    const boxes = new Parts<(string | number)[]>(), labels = new Parts<(string | number)[]>();
    for (const one of cases) {
      const chest = one.chest!, id = one.id, part = one.split!;
      await writeFile(folder, `${part}/${id}.dicom`, radiographDicom(chest, one.number));
      const rows = boxRows(chest), flags = labelFlags(chest);
      if (part === "test") {
        boxes.add(one, ...rows.map((row) => [id, ...row]));
        labels.add(one, [id, ...flags]);
      } else {
        boxes.add(one, ...READERS.flatMap((reader) => rows.map((row) => [id, reader, ...row])));
        labels.add(one, ...READERS.map((reader) => [id, reader, ...flags]));
      }
    }
    for (const part of ["train", "test"] as const) {
      if (labels.of(part).length === 0) continue;
      const reader = part === "train" ? ["rad_id"] : [];
      const corners = ["x_min", "y_min", "x_max", "y_max"];
      const write = (name: string, columns: readonly string[], rows: Parts<(string | number)[]>) =>
        writeFile(
          folder,
          `annotations/${name}_${part}.csv`,
          csvTable(["image_id", ...reader, ...columns], rows.of(part)),
        );
      await write("annotations", ["class_name", ...corners], boxes);
      await write("image_labels", labelColumns(part === "test"), labels);
    }
  },
};

/** Names of a patient and study of MIMIC-CXR, and of the picture, made of the number of the case. */
export function mimicNames({ number, chest }: PhantomCase) {
  const patient = `p${10_000_000 + number}`, study = `s${50_000_000 + number}`;
  const digits = uniqueNumber(chest!).toString(16).padStart(32, "0").replace(/.{8}(?=.)/g, "$&-");
  return {
    patient,
    study,
    picture: digits,
    folder: `files/${patient.slice(0, 3)}/${patient}/${study}`,
  };
}
