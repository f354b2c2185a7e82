/**
 * Texts that go with pictures: ROCO's captions and LLaVA-Med's conversations.
 *
 * @module
 */
import type { PhantomCase } from "./case.ts";
import { jpg, jsonList, Parts, type PhantomFormat, writeFile } from "./format.ts";
import { shortQuestions } from "./questions.ts";

/** One line about a picture: its kind and what is found. */
export function caption({ kind, impression }: PhantomCase): string {
  return `${kind === "ct" ? "Axial CT of the trunk" : "Frontal chest radiograph"}. ${impression}`;
}

/** Classes of what a picture shows, each once. */
export function shownLabels({ things }: PhantomCase): string[] {
  return [...new Set(things.map(({ label }) => label))];
}

/** ROCO: captions and keywords in text files with tabs. */
export const roco: PhantomFormat = {
  name: "roco",
  about: "ROCO: captions and keywords as text with tabs, JPEG",
  kinds: ["cxr", "ct"],
  reader: "roco",
  parts: ["train", "validate", "test"],
  async write(cases, folder) {
    const captions = new Parts<string>(), keywords = new Parts<string>();
    const names = { train: "train", validate: "validation", test: "test" } as const;
    for (const one of cases) {
      const id = `ROCO_${String(one.number + 1).padStart(5, "0")}`;
      await writeFile(folder, `${names[one.split!]}/radiology/images/${id}.jpg`, jpg(one.picture));
      captions.add(one, `${id}\t ${caption(one)}\n`);
      keywords.add(one, `${[id, ...shownLabels(one)].join("\t")}\n`);
    }
    for (const part of ["train", "validate", "test"] as const) {
      if (captions.of(part).length === 0) continue;
      const base = `${names[part]}/radiology`;
      await writeFile(folder, `${base}/captions.txt`, captions.of(part).join(""));
      await writeFile(folder, `${base}/keywords.txt`, keywords.of(part).join(""));
    }
  },
};

/** What LLaVA-Med asks of pictures for alignment, in words of this project. */
const REQUESTS = [
  "Describe this picture in a few words.",
  "Give a short account of what the picture shows.",
  "Sum up this image.",
] as const;

/** LLaVA-Med: captions for alignment, whole conversations for instruction. */
export const llavaMed: PhantomFormat = {
  name: "llava-med",
  about: "LLaVA-Med: alignment and instruction conversations as JSON, JPEG",
  kinds: ["cxr", "ct"],
  reader: "llava_med",
  parts: ["train"],
  async write(cases, folder) {
    const alignment: unknown[] = [], instruct: unknown[] = [];
    for (const one of cases) {
      const { id, number, kind } = one, image = `${id}.jpg`;
      await writeFile(folder, `images/${image}`, jpg(one.picture));
      const domain = {
        "chest_xray": kind === "cxr",
        mri: false,
        histology: false,
        gross: false,
        "ct_scan": kind === "ct",
      };
      const turns = (pairs: readonly (readonly [string, string])[]) =>
        pairs.flatMap(([question, answer], index) => [
          { from: "human", value: index === 0 ? `${question}\n<image>` : question },
          { from: "gpt", value: answer },
        ]);
      // The release spells the field so.
      const conversatons = turns([[REQUESTS[number % REQUESTS.length], caption(one)]]);
      alignment.push({ id, image, domain, conversatons });
      const asked = shortQuestions(one).filter(({ answerType }) => answerType === "open");
      const conversations = turns(asked.map(({ prompt, answer }) => [prompt, answer] as const));
      instruct.push({ id, image, fig_caption: caption(one), domain, conversations });
    }
    await writeFile(folder, "alignment/llava_med_alignment_500k.json", jsonList(alignment));
    await writeFile(folder, "instruct/llava_med_instruct_60k.json", jsonList(instruct));
  },
};
