/**
 * SA-Med2D-20M and the conversations of MeCoVQA and MedPLIB about its pictures.
 *
 * @module
 */
import type { FolderWriter, Mask } from "@medvlm/core";
import { maskBox } from "../field.ts";
import type { PhantomCase } from "./case.ts";
import { jsonList, maskPng, Parts, type PhantomFormat, png, writeFile } from "./format.ts";
import { shortQuestions } from "./questions.ts";

/** Numbers of classes in the order in which they first appear. */
class Classes {
  readonly #numbers = new Map<string, number>();

  /** Four digits, as in the names of mask files. */
  digits(label: string): string {
    const number = this.#numbers.get(label) ?? this.#numbers.size + 1;
    this.#numbers.set(label, number);
    return String(number).padStart(4, "0");
  }

  /** The table of the release. */
  table(): string {
    return `${JSON.stringify(Object.fromEntries(this.#numbers), null, 1)}\n`;
  }
}

/** The name of a picture without ending: modality, dataset, case and slice. */
export function pictureStem({ kind, number }: PhantomCase): string {
  const modality = kind === "ct" ? "ct_00" : "x_ray";
  return `${modality}--Phantoms--case_${String(number).padStart(5, "0")}--z_0000`;
}

/** Writes the picture and a mask per thing; gives the names of the masks in the order of the things. */
async function writePicture(
  one: PhantomCase,
  folder: FolderWriter,
  classes: Classes,
): Promise<{ image: string; masks: string[] }> {
  const stem = pictureStem(one), image = `images/${stem}.png`, masks: string[] = [];
  await writeFile(folder, image, png(one.picture));
  const counts = new Map<string, number>();
  for (const { label, mask } of one.things) {
    const instance = counts.get(label) ?? 0;
    counts.set(label, instance + 1);
    const name = `masks/${stem}--${classes.digits(label)}_${String(instance).padStart(3, "0")}.png`;
    await writeFile(folder, name, maskPng(mask));
    masks.push(name);
  }
  return { image, masks };
}

/** SA-Med2D-20M. */
export const saMed2d: PhantomFormat = {
  name: "sa-med2d",
  about: "SA-Med2D-20M: pictures and masks as PNG, lists as JSON",
  kinds: ["cxr", "ct"],
  reader: "sa_med2d_20m",
  parts: [],
  async write(cases, folder) {
    const classes = new Classes(), list: Record<string, string[]> = {};
    for (const one of cases) {
      const { image, masks } = await writePicture(one, folder, classes);
      list[image] = masks;
    }
    await writeFile(folder, "SAMed2D_v1_class_mapping_id.json", classes.table());
    await writeFile(folder, "SAMed2D_v1.json", `${JSON.stringify(list, null, 1)}\n`);
  },
};

/** One conversation of MedPLIB's lists. */
interface Conversation {
  readonly id: string;
  readonly image: string;
  readonly conversations: readonly { readonly from: "human" | "gpt"; readonly value: string }[];
  readonly "answer_type": "open" | "closed";
}

/** The conversations of a picture by their kind. */
interface Conversations {
  readonly Complex: Conversation[];
  readonly Region: Conversation[];
  readonly Grounding: Conversation[];
}

/** A mask that holds all of these. */
function union(masks: readonly Mask[]): Mask {
  const data = new Uint8Array(masks[0].data.length);
  for (const mask of masks) mask.data.forEach((inside, at) => data[at] |= inside);
  return { ...masks[0], data };
}

/** Writes picture and masks, and makes a conversation of every question, region and request for a mask. */
async function conversationsOf(
  one: PhantomCase,
  folder: FolderWriter,
  classes: Classes,
): Promise<Conversations> {
  const { image, masks } = await writePicture(one, folder, classes);
  const stem = pictureStem(one);
  let number = 0;
  const talk = (
    question: string,
    answer: string,
    type: "open" | "closed" = "open",
  ): Conversation => ({
    id: `${stem}-${number++}`,
    image,
    conversations: [
      { from: "human", value: `<image>\n${question}` },
      { from: "gpt", value: answer },
    ],
    answer_type: type,
  });
  const complex = shortQuestions(one).map(({ prompt, answer, answerType }) =>
    talk(prompt, answer, answerType)
  );
  const region = one.examples.filter(({ task }) => task === "region-vqa").map((example) => {
    // The region is a mask whatever the example points with: MedPLIB takes nothing else.
    const [pointed] = example.regions!;
    const box = String(
      pointed.kind === "box" ? pointed.box : pointed.kind === "mask" && maskBox(pointed.mask),
    );
    const index = one.things.findIndex((thing) =>
      thing.name === example.answer && String(thing.box) === box
    );
    const question = example.prompt.replace(
      "<region></region>",
      `<region>${masks[index]}</region>`,
    );
    return talk(question, `This region shows the ${example.answer}.`);
  });
  const grounding: Conversation[] = [];
  for (const [name, members] of Map.groupBy(one.things.keys(), (i) => one.things[i].name)) {
    let file = masks[members[0]];
    if (members.length > 1) {
      file = `masks/${stem}--${classes.digits(one.things[members[0]].label)}_999.png`;
      await writeFile(folder, file, maskPng(union(members.map((i) => one.things[i].mask))));
    }
    const what = members.length > 1 ? `every ${name}` : `the ${name}`;
    const question = `Please segment ${what} in this medical image.`;
    grounding.push(talk(question, `Sure, ${what} is <SEG>.<mask>${file}</mask>`));
  }
  return { Complex: complex, Region: region, Grounding: grounding };
}

const kinds = ["Complex", "Region", "Grounding"] as const;

/** MeCoVQA: three lists for training and three for testing. */
export const mecovqa: PhantomFormat = {
  name: "mecovqa",
  about: "MeCoVQA: questions, regions and masks in three lists of conversations, PNG",
  kinds: ["cxr", "ct"],
  reader: "mecovqa",
  parts: ["train", "test"],
  async write(cases, folder) {
    const classes = new Classes();
    const lists = { Complex: new Parts(), Region: new Parts(), Grounding: new Parts() };
    for (const one of cases) {
      const all = await conversationsOf(one, folder, classes);
      for (const kind of kinds) lists[kind].add(one, ...all[kind]);
    }
    await writeFile(folder, "SAMed2D_v1_class_mapping_id.json", classes.table());
    for (const kind of kinds) {
      const test = kind === "Grounding" ? kind : `${kind}_VQA`;
      await writeFile(folder, `train/MeCoVQA-${kind}.json`, jsonList(lists[kind].of("train")));
      await writeFile(folder, `test/MeCoVQA_${test}_test.json`, jsonList(lists[kind].of("test")));
    }
  },
};

/** What MedPLIB trains on: all conversations in one list per part. */
export const medplib: PhantomFormat = {
  name: "medplib",
  about: "MedPLIB's training lists: all conversations in one list, PNG",
  kinds: ["cxr", "ct"],
  reader: "mecovqa",
  parts: ["train", "test"],
  async write(cases, folder) {
    const classes = new Classes(), parts = new Parts<Conversation>();
    for (const one of cases) {
      const { Complex, Region, Grounding } = await conversationsOf(one, folder, classes);
      parts.add(one, ...Complex, ...Region, ...Grounding);
    }
    await writeFile(folder, "SAMed2D_v1_class_mapping_id.json", classes.table());
    await writeFile(folder, "train/MeCoVQA-All.json", jsonList(parts.of("train")));
    await writeFile(folder, "test/MeCoVQA_All_test.json", jsonList(parts.of("test")));
  },
};
