/**
 * PathVQA (He et al., 2020): questions about pathology pictures, as the original pickles or as JSON lists.
 *
 * @module
 */
import { type Example, InputError } from "@medvlm/core";
import { PyDict, unpickle } from "@medvlm/core/checkpoint";
import { asFields, FieldError, type Fields, numbered, optionalText, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type PartFile, type Reading } from "./reader.ts";
import { commonFields, listedExamples } from "./vqa_records.ts";

const PICKLES = [
  { file: "qas/train/train_qa.pkl", split: "train", pictures: "images/train" },
  { file: "qas/val/val_qa.pkl", split: "validate", pictures: "images/val" },
  { file: "qas/test/test_qa.pkl", split: "test", pictures: "images/test" },
] as const;

const LISTS: readonly PartFile[] = [
  { file: "trainset.json", split: "train" },
  { file: "valset.json", split: "validate" },
  { file: "testset.json", split: "test" },
];

/** Largest pickle in bytes; the training file of the release has about three million. */
const MAX_PICKLE = 2 ** 28;

/** The plain dictionaries of a pickled list; classes are refused. */
async function pickledRecords(reading: Reading, name: string): Promise<readonly unknown[]> {
  using file = await reading.folder.open(name);
  if (file.size > MAX_PICKLE) {
    throw new InputError(
      "TOO_LARGE",
      `Cannot read "${file.name}": ${file.size} bytes are more than the ${MAX_PICKLE} allowed`,
    );
  }
  const value = unpickle(await file.read(0, file.size), { name: file.name, globals: new Map() });
  if (Array.isArray(value)) return value;
  throw new InputError("INVALID_PICKLE", `Cannot read "${file.name}": it holds no list`);
}

function fieldsOfDict(value: unknown): Fields {
  if (!(value instanceof PyDict)) throw new FieldError("the record is not a dictionary");
  return asFields(Object.fromEntries(value));
}

async function* pickled(
  reading: Reading,
  parts: readonly (typeof PICKLES)[number][],
): AsyncGenerator<Example> {
  for (const { file, split, pictures } of parts) {
    if (!reading.wants(split)) continue;
    for (const [index, value] of (await pickledRecords(reading, file)).entries()) {
      const example = await reading.attempt(
        { file },
        () =>
          numbered("list", index, async (): Promise<Example> => {
            const fields = fieldsOfDict(value), answer = textOf(fields, "answer");
            return {
              id: `${split}/${index}`,
              image: await reading.image(`${pictures}/${textOf(fields, "image")}.jpg`),
              task: "vqa",
              prompt: textOf(fields, "question"),
              answer,
              answerType: /^(yes|no)$/i.test(answer) ? "closed" : "open",
              split,
            };
          }),
      );
      if (example) yield example;
    }
  }
}

/** PathVQA. Pickles do not say which questions are closed; those answered yes or no are. */
export const pathVqa: DatasetReader = defineReader({
  name: "path_vqa",
  description: "PathVQA: questions and answers about pathology pictures",
  files:
    "qas/{train,val,test}/*_qa.pkl with pictures images/{train,val,test}/*.jpg, or JSON lists with image_path or image_name",
  async *examples(reading) {
    const pickles = await reading.existing(PICKLES);
    if (pickles.length > 0) {
      yield* pickled(reading, pickles);
      return;
    }
    yield* listedExamples(reading, LISTS, async (record) => {
      const { fields, part, index } = record;
      // The lists were made on Windows.
      const named = optionalText(fields, "image_path") ?? textOf(fields, "image_name");
      const path = named.replaceAll("\\", "/");
      return {
        id: optionalText(fields, "qid") ?? `${part.file}/${index}`,
        image: await reading.image(path, `images/${path}`),
        task: "vqa",
        prompt: textOf(fields, "question"),
        answer: textOf(fields, "answer"),
        category: optionalText(fields, "question_type"),
        ...commonFields(record),
      };
    });
  },
});
