/**
 * LLaVA-Med (Li et al., NeurIPS 2023): captions as conversations for alignment, and generated conversations for
 * instruction tuning, about figures of open-access articles.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { chosenTurns, turnsOf } from "./conversations.ts";
import { asFields, attributesOf, type Fields, optionalText, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type PartFile, type Reading } from "./reader.ts";
import { listedRecords } from "./vqa_records.ts";

const FOLDERS = ["alignment", "instruct", undefined] as const;

async function listsOf(reading: Reading): Promise<PartFile[]> {
  const lists: PartFile[] = [];
  for (const folder of FOLDERS) {
    for (const name of await reading.list(folder)) {
      if (!/^llava_med_(alignment|instruct).*\.json$/.test(name)) continue;
      lists.push({ file: folder === undefined ? name : `${folder}/${name}`, split: "train" });
    }
  }
  return lists;
}

/** The modality whose flag is set, such as `chest_xray`. */
function modalityOf(fields: Fields): string | undefined {
  if (fields.domain === undefined) return undefined;
  const domain = Object.entries(asFields(fields.domain, '"domain"'));
  return domain.find(([, flag]) => flag === true)?.[0];
}

/** LLaVA-Med's training data; `category` is alignment or instruct. */
export const llavaMed: DatasetReader = defineReader({
  name: "llava_med",
  description: "LLaVA-Med: captions and generated conversations about figures of articles",
  files:
    "alignment/llava_med_alignment_500k.json, instruct/llava_med_instruct_*.json (also in the folder itself); pictures in images/",
  async *examples(reading) {
    const lists = await listsOf(reading);
    if (lists.length === 0) throw reading.noFiles("llava_med_*.json");
    for await (const { place, part, fields } of listedRecords(reading, lists)) {
      const file = part.file.split("/").at(-1)!.replace(/\.json$/, "");
      const category = file.includes("alignment") ? "alignment" : "instruct";
      const examples = await reading.attempt(place, async () => {
        const name = textOf(fields, "image"), id = `${file}/${textOf(fields, "id")}`;
        const image = await reading.image(`images/${name}`, name);
        const modality = modalityOf(fields);
        return [...chosenTurns(turnsOf(fields), reading.options)].map((
          { index, turn, history },
        ): Example => ({
          id: index === 0 ? id : `${id}/${index}`,
          image,
          task: category === "alignment" ? "caption" : "vqa",
          prompt: turn.question,
          answer: turn.answer,
          ...history,
          answerType: "open",
          category,
          split: "train",
          ...attributesOf({ modality, caption: optionalText(fields, "fig_caption") }),
        }));
      });
      if (examples) yield* examples;
    }
  },
});
