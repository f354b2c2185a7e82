/**
 * OmniMedVQA (Hu et al., CVPR 2024): multiple-choice questions over many datasets and modalities.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { attributesOf, FieldError, type Fields, optionalText, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type PartFile } from "./reader.ts";
import { listedRecords } from "./vqa_records.ts";

const FOLDERS = ["QA_information/Open-access", "QA_information/Restricted-access"];

function choicesOf(fields: Fields): string[] {
  return ["A", "B", "C", "D"].flatMap((letter) => optionalText(fields, `option_${letter}`) ?? []);
}

/** OmniMedVQA; everything is its test set. */
export const omniMedVqa: DatasetReader = defineReader({
  name: "omnimedvqa",
  description: "OmniMedVQA: multiple-choice questions over twelve modalities",
  files: "QA_information/Open-access/*.json (and Restricted-access); pictures in Images/",
  async *examples(reading) {
    const parts: PartFile[] = [];
    for (const folder of FOLDERS) {
      for (const name of await reading.list(folder)) {
        if (name.endsWith(".json")) parts.push({ file: `${folder}/${name}`, split: "test" });
      }
    }
    if (parts.length === 0) throw reading.noFiles(FOLDERS.join(", "));
    for await (const { place, part, fields } of listedRecords(reading, parts)) {
      const example = await reading.attempt(place, async (): Promise<Example> => {
        const choices = choicesOf(fields), answer = textOf(fields, "gt_answer");
        if (!choices.includes(answer)) throw new FieldError("the answer is none of the options");
        const path = textOf(fields, "image_path");
        return {
          id: `${part.file.split("/").at(-1)!.replace(/\.json$/, "")}/${
            textOf(fields, "question_id")
          }`,
          image: await reading.image(path, path.replace(/^Images\//, "images/")),
          task: "vqa",
          prompt: textOf(fields, "question"),
          answer,
          choices,
          answerType: "closed",
          category: optionalText(fields, "question_type"),
          split: "test",
          ...attributesOf({
            dataset: optionalText(fields, "dataset"),
            modality: optionalText(fields, "modality_type"),
          }),
        };
      });
      if (example) yield example;
    }
  },
});
