/**
 * MeCoVQA (MedPLIB, AAAI 2025): complex, region and grounding questions over SA-Med2D-20M, in the lists that MedPLIB's
 * own loader reads.
 *
 * @module
 */
import type { Example, Finding } from "@medvlm/core";
import { chosenTurns, type TaggedTurn, turnsOf } from "./conversations.ts";
import { answerTypeOf, attributesOf, optionalText, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type PartFile, type Reading } from "./reader.ts";
import { readClassNames } from "./sam_masks.ts";
import { listedRecords, splitInName } from "./vqa_records.ts";

const FOLDERS = ["train", "test", undefined] as const;

/** Lists of the three kinds, wherever the release or its users put them. */
async function listsOf(reading: Reading): Promise<PartFile[]> {
  const lists: PartFile[] = [];
  for (const folder of FOLDERS) {
    for (const name of await reading.list(folder)) {
      if (!/^MeCoVQA.*\.json$/i.test(name)) continue;
      const file = folder === undefined ? name : `${folder}/${name}`;
      lists.push({ file, split: splitInName(file) });
    }
  }
  return lists;
}

/** The name of a file, with the slips of the release: `./` in front, the ending left off. */
async function pictureFile(reading: Reading, name: string): Promise<string> {
  const plain = name.replace(/^(\.\/)+/, "");
  return await reading.image(...(/\.\w{3,4}$/.test(plain) ? [plain] : [plain, `${plain}.png`]));
}

/** What `<SEG>` points at: the class that the mask's name gives, by the table of SA-Med2D-20M where it is there. */
async function findingOf(
  reading: Reading,
  { answer, mask }: TaggedTurn,
  classes: ReadonlyMap<number, string>,
): Promise<Finding[]> {
  if (mask === undefined) return [];
  const file = await pictureFile(reading, mask);
  const number = /--(\d+)_\d+(\.png)?$/.exec(file)?.[1];
  const label = number === undefined ? "<SEG>" : classes.get(Number(number)) ?? number;
  const start = answer.indexOf("<SEG>");
  return [{
    label,
    ...(start >= 0 ? { span: [start, start + "<SEG>".length] as const } : {}),
    boxes: [],
    maskFiles: [file],
  }];
}

function taskOf({ region, mask }: TaggedTurn): Example["task"] {
  return mask !== undefined ? "ground-mask" : region !== undefined ? "region-vqa" : "vqa";
}

/** MeCoVQA: `category` is Complex, Region or Grounding. `<region></region>` stays in the question. */
export const meCoVqa: DatasetReader = defineReader({
  name: "mecovqa",
  description: "MeCoVQA: complex, region and grounding questions of MedPLIB",
  files:
    "train/MeCoVQA-{Complex,Region,Grounding}.json, test/MeCoVQA_*_test.json, or such lists in the folder itself; pictures and masks as the lists name them",
  async *examples(reading) {
    const lists = await listsOf(reading);
    if (lists.length === 0) throw reading.noFiles("MeCoVQA*.json");
    const classes = await readClassNames(reading);
    for await (const { place, part, index, fields } of listedRecords(reading, lists)) {
      const name = part.file.split("/").at(-1)!.replace(/\.json$/i, "");
      const examples = await reading.attempt(place, async () => {
        const image = await pictureFile(reading, textOf(fields, "image"));
        const id = `${name}/${optionalText(fields, "id") ?? index}`;
        const made: Example[] = [];
        for (
          const { index: turnIndex, turn, history } of chosenTurns(turnsOf(fields), reading.options)
        ) {
          const findings = await findingOf(reading, turn, classes);
          made.push({
            id: turnIndex === 0 ? id : `${id}/${turnIndex}`,
            image,
            task: taskOf(turn),
            prompt: turn.question,
            answer: turn.answer,
            ...history,
            ...(turn.region
              ? { regions: [{ kind: "mask-file", file: await pictureFile(reading, turn.region) }] }
              : {}),
            ...(findings.length > 0 ? { findings } : {}),
            ...answerTypeOf(fields),
            category: /Complex|Region|Grounding/i.exec(name)?.[0],
            ...(part.split ? { split: part.split } : {}),
            // MedPLIB's evaluation takes the modality from the name of the picture.
            ...attributesOf({ modality: /([^/_]+)_[^/]*$/.exec(image)?.[1] }),
          });
        }
        return made;
      });
      if (examples) yield* examples;
    }
  },
});
