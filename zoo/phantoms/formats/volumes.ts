/**
 * Whole volumes: CT-RATE and TotalSegmentator.
 *
 * @module
 */
import { volumeLabels } from "../volume_findings.ts";
import { structureNames } from "../volume_labels.ts";
import { shownStructures } from "../volume_text.ts";
import { csvTable, Parts, type PhantomFormat, writeFile } from "./format.ts";
import { niftiGzip } from "./nifti.ts";

const CT_RATE = {
  train: { folder: "train", reports: "train_reports.csv", labels: "train_predicted_labels.csv" },
  validate: {
    folder: "valid",
    reports: "validation_reports.csv",
    labels: "valid_predicted_labels.csv",
  },
} as const;

/** CT-RATE: one volume per patient, reports and labels as tables. */
export const ctRate: PhantomFormat = {
  name: "ct-rate",
  about: "CT-RATE: volumes as NIfTI, reports and labels as CSV",
  kinds: ["ct"],
  reader: "ct_rate",
  parts: ["train", "validate"],
  volumes: true,
  async write(cases, folder) {
    const reports = new Parts<string[]>(), labels = new Parts<(string | number)[]>();
    for (const one of cases) {
      const { folder: part } = CT_RATE[one.split as "train" | "validate"];
      const patient = `${part}_${one.number + 1}`, name = `${patient}_a_1.nii.gz`;
      const { size, spacing, affine, hu, findings } = one.volume!;
      const file = niftiGzip({ size, spacing, affine, data: hu });
      await writeFile(folder, `dataset/${part}/${patient}/${patient}_a/${name}`, file);
      reports.add(one, [name, "", "CT with contrast agent.", one.findings, one.impression]);
      const has = (label: string) => findings.some((finding) => finding.label === label) ? 1 : 0;
      labels.add(one, [name, ...volumeLabels.map(has)]);
    }
    for (const part of ["train", "validate"] as const) {
      const names = CT_RATE[part];
      if (reports.of(part).length === 0) continue;
      const columns = ["VolumeName", "ClinicalInformation_EN", "Technique_EN"];
      await writeFile(
        folder,
        `radiology_text_reports/${names.reports}`,
        csvTable([...columns, "Findings_EN", "Impressions_EN"], reports.of(part)),
      );
      await writeFile(
        folder,
        `multi_abnormality_labels/${names.labels}`,
        csvTable(["VolumeName", ...volumeLabels], labels.of(part)),
      );
    }
  },
};

/** Name of the mask file of a kind of finding. */
function fileName(label: string): string {
  return label.toLowerCase().replaceAll(" ", "_");
}

/** TotalSegmentator: a mask file for every structure that any volume shows, and for every kind of finding. */
export const totalSegmentator: PhantomFormat = {
  name: "totalsegmentator",
  about: "TotalSegmentator: volumes and masks as NIfTI, table of cases",
  kinds: ["ct"],
  reader: "total_segmentator",
  parts: ["train", "validate", "test"],
  volumes: true,
  async write(cases, folder) {
    const rows: (string | number)[][] = [];
    for (const one of cases) {
      const id = `s${String(one.number).padStart(4, "0")}`, volume = one.volume!;
      const { size, spacing, affine, hu, labels, instances, findings } = volume;
      const write = (name: string, data: Uint8Array | Int16Array) =>
        writeFile(folder, `${id}/${name}.nii.gz`, niftiGzip({ size, spacing, affine, data }));
      await write("ct", hu);
      for (const name of shownStructures(volume)) {
        const value = structureNames.indexOf(name);
        await write(`segmentations/${name}`, labels.map((label) => label === value ? 1 : 0));
      }
      for (const label of volumeLabels) {
        const own = findings.filter((one) => one.label === label).map(({ value }) => value);
        if (own.length === 0) continue;
        const mask = instances.map((value) => own.includes(value) ? 1 : 0);
        await write(`segmentations/${fileName(label)}`, mask);
      }
      const split = one.split === "validate" ? "val" : one.split!;
      rows.push([id, one.age, one.sex.toLowerCase(), "phantom", "ct thorax-abdomen", split]);
    }
    const columns = ["image_id", "age", "gender", "institute", "study_type", "split"];
    await writeFile(folder, "meta.csv", csvTable(columns, rows, ";"));
  },
};
