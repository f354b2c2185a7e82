/**
 * VQA-RAD (Lau et al., Scientific Data 2018): questions of clinicians about radiographs, CT and MR pictures.
 *
 * @module
 */
import { attributesOf, optionalText, textOf } from "./fields.ts";
import { type DatasetReader, defineReader } from "./reader.ts";
import { commonFields, listedExamples } from "./vqa_records.ts";

const PARTS = [
  { file: "trainset.json", split: "train" },
  { file: "testset.json", split: "test" },
  { file: "VQA_RAD Dataset Public.json" },
] as const;

/**
 * VQA-RAD. The single public file marks the test questions by `phrase_type`.
 */
export const vqaRad: DatasetReader = defineReader({
  name: "vqa_rad",
  description: "VQA-RAD: questions and short answers about radiology pictures",
  files:
    "trainset.json and testset.json, or the public file, or other lists of the same records; pictures in images/ or VQA_RAD Image Folder/",
  examples: (reading) =>
    listedExamples(reading, PARTS, async (record) => {
      const { fields, part } = record;
      const name = textOf(fields, "image_name");
      const phrase = optionalText(fields, "phrase_type");
      const marked = phrase?.startsWith("test") ? "test" : "train";
      const split = part.file === PARTS[2].file ? marked : part.split;
      if (!reading.wants(split)) return undefined;
      return {
        id: textOf(fields, "qid"),
        image: await reading.image(`images/${name}`, `VQA_RAD Image Folder/${name}`, name),
        task: "vqa",
        prompt: textOf(fields, "question"),
        answer: textOf(fields, "answer"),
        category: optionalText(fields, "question_type"),
        ...commonFields(record),
        ...(split ? { split } : {}),
        ...attributesOf({ organ: optionalText(fields, "image_organ"), phrase }),
      };
    }),
});
