/**
 * TotalSegmentator (Wasserthal et al., Radiology: AI 2023; D'Antonoli et al., Radiology 2025): CT or MR volumes with a
 * mask file per structure.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { csvRecords } from "./csv.ts";
import { attributesOf, FieldError, type Fields, optionalText, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type Reading } from "./reader.ts";

const VOLUMES = ["ct.nii.gz", "mri.nii.gz", "ct.nii", "mri.nii"];
const MASK = /\.nii(\.gz)?$/;

/** The rows of `meta.csv` by case. */
async function readMeta(reading: Reading): Promise<Map<string, Fields>> {
  const cases = new Map<string, Fields>();
  const name = "meta.csv";
  if (!await reading.folder.has(name)) return cases;
  using file = await reading.folder.open(name);
  for await (const { values, problem, line } of csvRecords(file, ["image_id"], ";")) {
    await reading.attempt({ file: name, line }, () => {
      if (values === undefined) throw new FieldError(problem ?? "malformed");
      cases.set(textOf(values, "image_id"), values);
    });
  }
  return cases;
}

function splitOf(meta: Fields | undefined): Example["split"] {
  const split = meta && optionalText(meta, "split");
  return split === "val" ? "validate" : split === "train" || split === "test" ? split : undefined;
}

/** TotalSegmentator: one example per volume with a mask file for every structure; masks of absent ones are empty. */
export const totalSegmentator: DatasetReader = defineReader({
  name: "total_segmentator",
  description: "TotalSegmentator: CT and MR volumes with a mask per structure",
  files: "sNNNN/ct.nii.gz (or mri.nii.gz), sNNNN/segmentations/*.nii.gz, meta.csv (optional)",
  async *examples(reading) {
    const meta = await readMeta(reading);
    let found = false;
    for (const name of await reading.list()) {
      const masks = (await reading.list(`${name}/segmentations`))
        .filter((file) => MASK.test(file));
      if (masks.length === 0) continue;
      found = true;
      const split = splitOf(meta.get(name));
      if (!reading.wants(split)) continue;
      const example = await reading.attempt({ file: name }, async (): Promise<Example> => {
        const image = await reading.image(...VOLUMES.map((volume) => `${name}/${volume}`));
        const labels = masks.map((file) => file.replace(MASK, ""));
        const fields = meta.get(name) ?? {};
        return {
          id: name,
          image,
          task: "ground-mask",
          prompt: "Segment the anatomical structures in this volume.",
          answer: `${labels.join(", ").replaceAll("_", " ")}.`,
          findings: masks.map((file, index) => ({
            label: labels[index],
            boxes: [],
            maskFiles: [`${name}/segmentations/${file}`],
          })),
          patient: name,
          ...(split ? { split } : {}),
          ...attributesOf({
            modality: image.includes("/mri.") ? "MR" : "CT",
            study: optionalText(fields, "study_type"),
            age: optionalText(fields, "age"),
            gender: optionalText(fields, "gender"),
          }),
        };
      });
      if (example) yield example;
    }
    if (!found) throw reading.noFiles("*/segmentations/*.nii.gz");
  },
});
