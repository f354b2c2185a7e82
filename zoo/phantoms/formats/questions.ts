/**
 * Questions with short answers: VQA-RAD, SLAKE, PathVQA, VQA-Med.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import type { PhantomCase } from "./case.ts";
import { csvTable, jpg, jsonList, Parts, type PhantomFormat, png, writeFile } from "./format.ts";
import { multipleChoice } from "./choices.ts";
import { pickledRecords } from "./pickle.ts";

/** The questions about a picture that have a short answer. */
export function shortQuestions({ examples }: PhantomCase): Example[] {
  return examples.filter(({ task }) => task === "vqa");
}

/** Kinds of question as VQA-RAD abbreviates them. */
export const vqaRadKinds: Readonly<Record<string, string>> = {
  presence: "PRES",
  normality: "ABN",
  side: "POS",
  zone: "POS",
  place: "POS",
  count: "COUNT",
  severity: "ATTRIB",
  size: "SIZE",
  modality: "MODALITY",
};

/** VQA-RAD. */
export const vqaRad: PhantomFormat = {
  name: "vqa-rad",
  about: "VQA-RAD: questions as JSON, JPEG",
  kinds: ["cxr", "ct"],
  reader: "vqa_rad",
  parts: ["train", "test"],
  async write(cases, folder) {
    const parts = new Parts<unknown>();
    let qid = 0;
    for (const one of cases) {
      const name = `synpic${10_000 + one.number}.jpg`;
      await writeFile(folder, `images/${name}`, jpg(one.picture));
      for (const { prompt, answer, answerType, category } of shortQuestions(one)) {
        parts.add(one, {
          qid: ++qid,
          image_name: name,
          image_organ: "CHEST",
          answer,
          answer_type: answerType!.toUpperCase(),
          question_type: vqaRadKinds[category!],
          question: prompt,
          phrase_type: one.split === "test" ? "test_freeform" : "freeform",
        });
      }
    }
    await writeFile(folder, "trainset.json", jsonList(parts.of("train")));
    await writeFile(folder, "testset.json", jsonList(parts.of("test")));
  },
};

/** Kinds of question as SLAKE calls them. */
export const slakeKinds: Readonly<Record<string, string>> = {
  presence: "Abnormality",
  normality: "Abnormality",
  side: "Position",
  zone: "Position",
  place: "Position",
  count: "Quantity",
  severity: "Size",
  size: "Size",
  modality: "Modality",
};

/** SLAKE, in English, with the boxes and masks of what is seen. */
export const slake: PhantomFormat = {
  name: "slake",
  about: "SLAKE: questions, boxes as JSON, JPEG, masks as PNG",
  kinds: ["cxr", "ct"],
  reader: "slake",
  parts: ["train", "validate", "test"],
  async write(cases, folder) {
    const parts = new Parts<unknown>(), labels: string[] = [];
    let qid = 0;
    for (const one of cases) {
      const id = one.number,
        base = `imgs/xmlab${id}`,
        modality = one.kind === "ct" ? "CT" : "X-Ray";
      await writeFile(folder, `${base}/source.jpg`, jpg(one.picture));
      const boxes = one.things.map(({ label, box: [x0, y0, x1, y1] }) => ({
        [label]: [x0, y0, x1 - x0, y1 - y0],
      }));
      await writeFile(folder, `${base}/detection.json`, `${JSON.stringify(boxes)}\n`);
      await writeFile(folder, `${base}/mask.png`, labelPng(one, labels));
      const questions = shortQuestions(one).map(({ prompt, answer, answerType, category }) => ({
        img_id: id,
        img_name: `xmlab${id}/source.jpg`,
        question: prompt,
        answer,
        q_lang: "en",
        location: "Chest",
        modality,
        answer_type: answerType!.toUpperCase(),
        base_type: "vqa",
        triple: ["vhead", "_", "_"],
        qid: ++qid,
        content_type: slakeKinds[category!],
      }));
      await writeFile(folder, `${base}/question.json`, jsonList(questions));
      parts.add(one, ...questions);
    }
    await writeFile(folder, "mask.txt", labels.map((label, i) => `${i + 1}:${label}\n`).join(""));
    for (const part of ["train", "validate", "test"] as const) {
      await writeFile(folder, `${part}.json`, jsonList(parts.of(part)));
    }
  },
};

/** All things in one picture, as numbers of their labels; later ones cover earlier ones. New labels are added to the list. */
function labelPng(
  { picture: { width, height }, things }: PhantomCase,
  labels: string[],
): Uint8Array {
  const data = new Uint8Array(width * height);
  for (const { label, mask } of things) {
    if (!labels.includes(label)) labels.push(label);
    const number = labels.indexOf(label) + 1;
    mask.data.forEach((inside, at) => {
      if (inside === 1) data[at] = number;
    });
  }
  return png({ width, height, channels: 1, data, bitDepth: 8 });
}

/** PathVQA: pickles of records. */
export const pathVqa: PhantomFormat = {
  name: "path-vqa",
  about: "PathVQA: questions as pickles, JPEG",
  kinds: ["cxr", "ct"],
  reader: "path_vqa",
  parts: ["train", "validate", "test"],
  async write(cases, folder) {
    const parts = new Parts<Record<string, string>>();
    const short = { train: "train", validate: "val", test: "test" } as const;
    for (const one of cases) {
      const part = short[one.split!], image = `${part}_${String(one.number).padStart(4, "0")}`;
      await writeFile(folder, `images/${part}/${image}.jpg`, jpg(one.picture));
      parts.add(
        one,
        ...shortQuestions(one).map(({ prompt, answer }) => ({ answer, image, question: prompt })),
      );
    }
    for (const [part, name] of Object.entries(short)) {
      const records = parts.of(part as keyof typeof short);
      await writeFile(folder, `qas/${name}/${name}_qa.pkl`, pickledRecords(records));
    }
  },
};

/** Kinds of question that have names in VQA-Med 2019. */
export const vqaMedKinds: Readonly<Record<string, string>> = {
  modality: "modality",
  presence: "abnormality",
  normality: "abnormality",
};

const VQA_MED = {
  train: {
    file: "ImageClef-2019-VQA-Med-Training/All_QA_Pairs_train.txt",
    images: "ImageClef-2019-VQA-Med-Training/Train_images",
  },
  validate: {
    file: "ImageClef-2019-VQA-Med-Validation/All_QA_Pairs_val.txt",
    images: "ImageClef-2019-VQA-Med-Validation/Val_images",
  },
  test: {
    file: "VQAMed2019Test/VQAMed2019_Test_Questions_w_Ref_Answers.txt",
    images: "VQAMed2019Test/VQAMed2019_Test_Images",
  },
} as const;

/** VQA-Med of 2019; test questions say their kind. */
export const vqaMed: PhantomFormat = {
  name: "vqa-med",
  about: "VQA-Med 2019: questions as text with bars, JPEG",
  kinds: ["cxr", "ct"],
  reader: "vqa_med",
  parts: ["train", "validate", "test"],
  async write(cases, folder) {
    const parts = new Parts<string>();
    for (const one of cases) {
      const name = `synpic${20_000 + one.number}`;
      await writeFile(folder, `${VQA_MED[one.split!].images}/${name}.jpg`, jpg(one.picture));
      for (const { prompt, answer, category } of shortQuestions(one)) {
        const kind = vqaMedKinds[category!];
        const asked = one.split === "test" && kind !== undefined ? [kind, prompt] : [prompt];
        parts.add(one, `${[name, ...asked, answer].join("|")}\n`);
      }
    }
    for (const [part, { file }] of Object.entries(VQA_MED)) {
      const lines = parts.of(part as keyof typeof VQA_MED);
      if (lines.length > 0) await writeFile(folder, file, lines.join(""));
    }
  },
};

/** PMC-VQA, first version. */
export const pmcVqa: PhantomFormat = {
  name: "pmc-vqa",
  about: "PMC-VQA: questions with four choices as CSV, JPEG",
  kinds: ["cxr", "ct"],
  reader: "pmc_vqa",
  parts: ["train", "test"],
  async write(cases, folder) {
    const parts = new Parts<string[]>();
    for (const one of cases) {
      const name = `PMC${1_000_000 + one.number}_Fig1.jpg`;
      await writeFile(folder, `images/${name}`, jpg(one.picture));
      for (const { prompt, answer, choices } of choiceQuestions(one)) {
        const lettered = choices.map((choice, i) => `${"ABCD"[i]}: ${choice}`);
        const right = "ABCD"[choices.indexOf(answer)];
        parts.add(one, [name, prompt, answer, ...lettered, right]);
      }
    }
    const letters = ["A", "B", "C", "D"].map((letter) => `Choice ${letter}`);
    const columns = ["Figure_path", "Question", "Answer", ...letters, "Answer_label"];
    await writeFile(folder, "train.csv", csvTable(columns, parts.of("train")));
    await writeFile(folder, "test.csv", csvTable(columns, parts.of("test")));
  },
};

/** Open questions with four choices. */
export function choiceQuestions(one: PhantomCase) {
  return shortQuestions(one).flatMap((example) => {
    if (example.answerType === "closed") return [];
    const choices = multipleChoice(example, one);
    return choices === undefined ? [] : [{ ...example, choices }];
  });
}

/** Kinds of question as OmniMedVQA calls them. */
export const omniKinds: Readonly<Record<string, string>> = {
  modality: "Modality Recognition",
  presence: "Disease Diagnosis",
  normality: "Disease Diagnosis",
  side: "Lesion Grading",
  zone: "Anatomy Identification",
  place: "Anatomy Identification",
  count: "Other Biological Attributes",
  severity: "Lesion Grading",
  size: "Other Biological Attributes",
};

/** OmniMedVQA: all of it is for testing. */
export const omniMedVqa: PhantomFormat = {
  name: "omnimedvqa",
  about: "OmniMedVQA: questions with choices as JSON, PNG",
  kinds: ["cxr", "ct"],
  reader: "omnimedvqa",
  parts: ["test"],
  async write(cases, folder) {
    const records: unknown[] = [];
    for (const one of cases) {
      const path = `Images/Phantoms/${one.id}.png`;
      await writeFile(folder, path, png(one.picture));
      const closed = shortQuestions(one).filter(({ answerType }) => answerType === "closed")
        .map((example) => ({ ...example, choices: ["yes", "no"] }));
      for (const { prompt, answer, choices, category } of [...closed, ...choiceQuestions(one)]) {
        records.push({
          dataset: "Phantoms",
          question_id: `Phantoms_${String(records.length).padStart(4, "0")}`,
          question_type: omniKinds[category!],
          question: prompt,
          gt_answer: answer,
          image_path: path,
          ...Object.fromEntries(choices.map((choice, i) => [`option_${"ABCD"[i]}`, choice])),
          modality_type: one.kind === "ct" ? "CT(Computed Tomography)" : "X-Ray",
        });
      }
    }
    await writeFile(folder, "QA_information/Open-access/Phantoms.json", jsonList(records));
  },
};
