/**
 * PMC-VQA (Zhang et al., 2023): questions with four choices about figures of open-access articles.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { csvRecords } from "./csv.ts";
import { attributesOf, FieldError, type Fields, optionalText, textOf } from "./fields.ts";
import { type DatasetReader, defineReader } from "./reader.ts";

/** By part, the file to take; the first that exists. The clean test set is a part of the whole one. */
const PARTS = [
  { split: "train", names: ["train.csv", "train_2.csv"] },
  { split: "test", names: ["test.csv", "test_2.csv", "test_clean.csv"] },
] as const;

const LETTERS = ["A", "B", "C", "D"] as const;

/** The choices without their letters, and the letter of the right one. */
function choicesOf(fields: Fields): { choices: string[]; right: string } {
  const choices = LETTERS.map((letter) =>
    textOf(fields, `Choice ${letter}`).replace(new RegExp(`^${letter}\\s*:\\s*`), "")
  );
  const answer = textOf(fields, "Answer");
  // The first version has the text and a letter, the second the letter as answer.
  const letter = optionalText(fields, "Answer_label") ?? answer.match(/^[A-D](?=:|$)/)?.[0];
  const index = letter === undefined
    ? choices.indexOf(answer)
    : LETTERS.findIndex((one) => one === letter);
  if (index < 0) throw new FieldError("the answer is none of the choices");
  return { choices, right: choices[index] };
}

/** PMC-VQA, first or second version. */
export const pmcVqa: DatasetReader = defineReader({
  name: "pmc_vqa",
  description: "PMC-VQA: questions with four choices about figures of articles",
  files:
    "train.csv (or train_2.csv) and test.csv (or test_2.csv, test_clean.csv); pictures in images/ or figures/",
  async *examples(reading) {
    let found = false;
    for (const { split, names } of PARTS) {
      const [part] = await reading.existing(names.map((file) => ({ file })));
      if (part === undefined) continue;
      found = true;
      if (!reading.wants(split)) continue;
      using file = await reading.folder.open(part.file);
      const columns = ["Figure_path", "Question", ...LETTERS.map((letter) => `Choice ${letter}`)];
      for await (const { values, problem, line } of csvRecords(file, [...columns, "Answer"])) {
        const place = { file: part.file, line };
        const example = await reading.attempt(place, async (): Promise<Example> => {
          if (values === undefined) throw new FieldError(problem ?? "malformed");
          const { choices, right } = choicesOf(values);
          const name = textOf(values, "Figure_path");
          return {
            id: `${part.file}:${line}`,
            image: await reading.image(`images/${name}`, `figures/${name}`, name),
            task: "vqa",
            prompt: textOf(values, "Question"),
            answer: right,
            choices,
            answerType: "closed",
            split,
            ...attributesOf({ caption: optionalText(values, "Caption") }),
          };
        });
        if (example) yield example;
      }
    }
    if (!found) throw reading.noFiles(PARTS.flatMap(({ names }) => names).join(", "));
  },
});
