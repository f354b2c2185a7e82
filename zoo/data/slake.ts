/**
 * SLAKE (Liu et al., ISBI 2021): questions in English and Chinese about pictures with marked organs and findings.
 *
 * @module
 */
import type { Finding } from "@medvlm/core";
import { asFields, asList, attributesOf, boxOfSize, optionalText, textOf } from "./fields.ts";
import { jsonRecords } from "./json_records.ts";
import { type DatasetReader, defineReader, type Reading } from "./reader.ts";
import { commonFields, listedExamples } from "./vqa_records.ts";

const PARTS = [
  { file: "train.json", split: "train" },
  { file: "validate.json", split: "validate" },
  { file: "test.json", split: "test" },
] as const;

/** SLAKE, both languages; `attributes.language` tells them apart. */
export const slake: DatasetReader = defineReader({
  name: "slake",
  description: "SLAKE: questions in English and Chinese about radiology pictures",
  files: "train.json, validate.json, test.json; pictures imgs/xmlabN/source.jpg",
  examples: (reading) =>
    listedExamples(reading, PARTS, async (record) => {
      const { fields } = record;
      const name = textOf(fields, fields.img_name === undefined ? "image_name" : "img_name");
      return {
        id: textOf(fields, "qid"),
        image: await reading.image(`imgs/${name}`, name),
        task: "vqa",
        prompt: textOf(fields, "question"),
        answer: textOf(fields, "answer"),
        category: optionalText(fields, "content_type"),
        ...commonFields(record),
        ...attributesOf({
          language: optionalText(fields, "q_lang"),
          modality: optionalText(fields, "modality"),
          location: optionalText(fields, "location"),
          base: optionalText(fields, "base_type"),
        }),
      };
    }),
});

/** The marked objects of one picture: a list of `{label: [x, y, width, height]}`. */
async function markedObjects(reading: Reading, file: string): Promise<Finding[]> {
  using source = await reading.folder.open(file);
  const findings: Finding[] = [];
  for await (const { value, problem, line } of jsonRecords(source)) {
    if (problem !== undefined) {
      reading.skip({ file, line }, problem);
      continue;
    }
    await reading.attempt({ file, line }, () => {
      for (const [label, box] of Object.entries(asFields(value))) {
        findings.push({ label, boxes: [boxOfSize(asList(box, `"${label}"`), `"${label}"`)] });
      }
    });
  }
  return findings;
}

/** SLAKE's boxes of organs and findings, one example per picture. */
export const slakeObjects: DatasetReader = defineReader({
  name: "slake_objects",
  description: "SLAKE: boxes of organs and findings in its pictures",
  files: "imgs/xmlabN/detection.json and source.jpg",
  async *examples(reading) {
    const cases = await reading.list("imgs");
    if (cases.length === 0) throw reading.noFiles("imgs/xmlabN/detection.json");
    for (const name of cases) {
      const file = `imgs/${name}/detection.json`;
      if (!await reading.folder.has(file)) continue;
      const example = await reading.attempt({ file }, async () => {
        const image = await reading.image(`imgs/${name}/source.jpg`);
        const findings = await markedObjects(reading, file);
        return {
          id: name,
          image,
          task: "ground-box" as const,
          prompt: "Which organs and findings does this image show, and where?",
          answer: findings.length === 0
            ? "None."
            : `${findings.map(({ label }) => label).join(", ")}.`,
          findings,
        };
      });
      if (example) yield example;
    }
  },
});
