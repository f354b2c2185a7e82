/**
 * CT-RATE (Hamamci et al., 2024): chest CT volumes with reports and labels of abnormalities.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { csvRecords } from "./csv.ts";
import { FieldError, optionalText, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type Reading } from "./reader.ts";
import { joinSections, sectionAttributes } from "./reports.ts";

const REPORTS = "radiology_text_reports", LABELS = "multi_abnormality_labels";

/** By part, its tables and the name of its folder of volumes. */
const PARTS = [
  {
    split: "train",
    folder: "train",
    reports: ["train_reports.csv"],
    labels: ["train_predicted_labels.csv", "train_labels.csv"],
  },
  {
    split: "validate",
    folder: "valid",
    reports: ["validation_reports.csv", "valid_reports.csv"],
    labels: ["valid_predicted_labels.csv", "valid_labels.csv"],
  },
] as const;

/** What is asked: the table does not say. */
const PROMPT = "Describe the findings and the impression of this CT scan.";

/** Labels that are set, by volume. */
async function labelsOf(
  reading: Reading,
  names: readonly string[],
): Promise<Map<string, string[]>> {
  const labels = new Map<string, string[]>();
  const [part] = await reading.existing(names.map((name) => ({ file: `${LABELS}/${name}` })));
  if (part === undefined) return labels;
  using file = await reading.folder.open(part.file);
  for await (const { values, problem, line } of csvRecords(file, ["VolumeName"])) {
    await reading.attempt({ file: part.file, line }, () => {
      if (values === undefined) throw new FieldError(problem ?? "malformed");
      const { VolumeName: name, ...flags } = values;
      labels.set(name, Object.keys(flags).filter((label) => Number(flags[label]) === 1));
    });
  }
  return labels;
}

/** Where a volume may lie: `train_1_a_1.nii.gz` in `train_1/train_1_a`. */
function volumePaths(folder: string, name: string): string[] {
  const pieces = /^(([a-z]+_\d+)_[a-z]+)_\d+\.nii(\.gz)?$/.exec(name);
  if (pieces === null) return [name];
  const [, scan, patient] = pieces;
  return [
    `dataset/${folder}/${patient}/${scan}/${name}`,
    `dataset/${folder}_fixed/${patient}/${scan}/${name}`,
    `${folder}/${patient}/${scan}/${name}`,
    name,
  ];
}

/** CT-RATE: one example per volume; the answer is findings and impression. */
export const ctRate: DatasetReader = defineReader({
  name: "ct_rate",
  description: "CT-RATE: chest CT volumes with their reports",
  files:
    `${REPORTS}/train_reports.csv and validation_reports.csv, ${LABELS}/*_predicted_labels.csv (optional); volumes in dataset/{train,valid}/`,
  async *examples(reading) {
    let found = false;
    for (const { split, folder, reports, labels } of PARTS) {
      const [part] = await reading.existing(
        reports.map((name) => ({ file: `${REPORTS}/${name}` })),
      );
      if (part === undefined) continue;
      found = true;
      if (!reading.wants(split)) continue;
      const known = await labelsOf(reading, labels);
      using file = await reading.folder.open(part.file);
      const columns = ["VolumeName", "Findings_EN", "Impressions_EN"];
      for await (const { values, problem, line } of csvRecords(file, columns)) {
        const example = await reading.attempt(
          { file: part.file, line },
          async (): Promise<Example> => {
            if (values === undefined) throw new FieldError(problem ?? "malformed");
            const name = textOf(values, "VolumeName");
            const sections = {
              findings: optionalText(values, "Findings_EN"),
              impression: optionalText(values, "Impressions_EN"),
            };
            const answer = joinSections(sections);
            if (answer === "") {
              throw new FieldError("the report has neither findings nor impression");
            }
            const set = known.get(name);
            return {
              id: name.replace(/\.nii(\.gz)?$/, ""),
              image: await reading.image(...volumePaths(folder, name)),
              task: "report",
              prompt: PROMPT,
              answer,
              ...(set ? { labels: set } : {}),
              patient: /^[a-z]+_\d+/.exec(name)?.[0],
              split,
              ...sectionAttributes(sections, {
                indication: optionalText(values, "ClinicalInformation_EN"),
                technique: optionalText(values, "Technique_EN"),
              }),
            };
          },
        );
        if (example) yield example;
      }
    }
    if (!found) throw reading.noFiles(`${REPORTS}/*_reports.csv`);
  },
});
