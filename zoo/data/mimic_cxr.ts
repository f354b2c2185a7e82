/**
 * MIMIC-CXR (Johnson et al., Scientific Data 2019): report files, with the pictures of MIMIC-CXR-JPG.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { csvRecords } from "./csv.ts";
import { FieldError, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type Reading, type Split } from "./reader.ts";
import {
  joinSections,
  MAX_REPORT,
  REPORT_PROMPT,
  reportSections,
  sectionAttributes,
} from "./reports.ts";
import { decodeUtf8 } from "./text_records.ts";

const SPLIT_FILE = "mimic-cxr-2.0.0-split.csv";

/** The official part of every study, where the list is there. */
async function officialSplits(reading: Reading): Promise<Map<string, Split>> {
  const splits = new Map<string, Split>();
  if (!await reading.folder.has(SPLIT_FILE)) return splits;
  using file = await reading.folder.open(SPLIT_FILE);
  for await (const { values, problem, line } of csvRecords(file, ["study_id", "split"])) {
    await reading.attempt({ file: SPLIT_FILE, line }, () => {
      if (values === undefined) throw new FieldError(problem ?? "malformed");
      const split = textOf(values, "split");
      if (split !== "train" && split !== "validate" && split !== "test") {
        throw new FieldError(`unknown part "${split}"`);
      }
      splits.set(textOf(values, "study_id").replace(/^s/, ""), split);
    });
  }
  return splits;
}

async function reportText(reading: Reading, name: string): Promise<string> {
  using file = await reading.folder.open(name);
  if (file.size > MAX_REPORT) throw new FieldError(`${file.size} bytes are no report`);
  const text = decodeUtf8(await file.read(0, file.size));
  if (text === undefined) throw new FieldError("not UTF-8 text");
  return text;
}

/** The pictures of a study: JPEG or DICOM files in a folder named after it. */
async function picturesOf(reading: Reading, study: string): Promise<string[]> {
  const names = await reading.list(study, reading.options.images ?? reading.folder);
  const pictures = names.filter((name) => /\.(jpe?g|png|dcm)$/i.test(name));
  if (pictures.length > 0) return pictures.map((name) => `${study}/${name}`);
  if (reading.options.missingImages === "keep") return [];
  throw new FieldError(`there are no pictures in "${study}"`);
}

async function* studies(reading: Reading): AsyncGenerator<{ patient: string; study: string }> {
  for (const group of await reading.list("files")) {
    if (!/^p\d{2}$/.test(group)) continue;
    for (const patient of await reading.list(`files/${group}`)) {
      if (!/^p\d+$/.test(patient)) continue;
      for (const name of await reading.list(`files/${group}/${patient}`)) {
        const study = /^(s\d+)\.txt$/.exec(name)?.[1];
        if (study) yield { patient, study: `files/${group}/${patient}/${study}` };
      }
    }
  }
}

/**
 * MIMIC-CXR: one example per report, with all pictures of the study. The answer is findings and impression; both are
 * attributes too. With `missingImages: "keep"` reports without pictures have an empty `image`.
 */
export const mimicCxr: DatasetReader = defineReader({
  name: "mimic_cxr",
  description: "MIMIC-CXR: chest X-ray studies with their reports",
  files:
    `files/p1*/p*/s*.txt, pictures in files/p1*/p*/s*/*.jpg, parts in ${SPLIT_FILE} (all optional but the reports)`,
  async *examples(reading) {
    const splits = await officialSplits(reading);
    let found = false;
    for await (const { patient, study } of studies(reading)) {
      found = true;
      const number = study.slice(study.lastIndexOf("/") + 2);
      const split = splits.get(number);
      if (!reading.wants(split)) continue;
      const file = `${study}.txt`;
      const example = await reading.attempt({ file }, async (): Promise<Example> => {
        const sections = reportSections(await reportText(reading, file));
        const answer = joinSections(sections);
        if (answer === "") throw new FieldError("the report is empty");
        const [image = "", ...moreImages] = await picturesOf(reading, study);
        const { indication, comparison, technique, examination } = sections.others;
        return {
          id: `s${number}`,
          image,
          ...(moreImages.length > 0 ? { moreImages } : {}),
          task: "report",
          prompt: REPORT_PROMPT,
          answer,
          patient,
          ...(split ? { split } : {}),
          ...sectionAttributes(sections, { indication, comparison, technique, examination }),
        };
      });
      if (example) yield example;
    }
    if (!found) throw reading.noFiles("files/p1*/p*/s*.txt");
  },
});
