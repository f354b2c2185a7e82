/**
 * Reports about radiographs: MIMIC-CXR, MS-CXR, and the collection of Indiana University in its three forms.
 *
 * @module
 */
import { chestReport } from "../chest_report.ts";
import { textRandom } from "../chest_text.ts";
import { localLabels } from "../chest_text.ts";
import type { PhantomCase } from "./case.ts";
import { csvTable, jpg, Parts, type PhantomFormat, png, writeFile } from "./format.ts";
import { mimicNames } from "./vindr.ts";

/** Lines of at most 78 characters. */
function wrapped(text: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + word.length > 77) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  return [...lines, line].map((one) => ` ${one}\n`).join("");
}

function reportFile({ findings, impression, sex, age }: PhantomCase): string {
  const who = sex === "F" ? "woman" : "man";
  return `${
    " ".repeat(33)
  }FINAL REPORT\n EXAMINATION:  CHEST (PA)\n\n INDICATION:  ${age}-year-old ${who}\n\n` +
    ` FINDINGS: \n\n${wrapped(findings)}\n IMPRESSION: \n\n${wrapped(impression)}`;
}

/** MIMIC-CXR with the pictures of MIMIC-CXR-JPG. */
export const mimicCxr: PhantomFormat = {
  name: "mimic-cxr",
  about: "MIMIC-CXR: reports as text, JPEG, parts as CSV",
  kinds: ["cxr"],
  reader: "mimic_cxr",
  parts: ["train", "validate", "test"],
  async write(cases, folder) {
    const rows: string[][] = [];
    for (const one of cases) {
      const { folder: study, picture, patient, study: name } = mimicNames(one);
      await writeFile(folder, `${study}/${picture}.jpg`, jpg(one.picture));
      await writeFile(folder, `${study}.txt`, reportFile(one));
      rows.push([picture, name.slice(1), patient.slice(1), one.split!]);
    }
    await writeFile(
      folder,
      "mimic-cxr-2.0.0-split.csv",
      csvTable(["dicom_id", "study_id", "subject_id", "split"], rows),
    );
  },
};

/** MS-CXR's names of the findings; it has none for the aorta. */
export const msCxrNames: Readonly<Record<string, string>> = {
  "Cardiomegaly": "Cardiomegaly",
  "Pleural effusion": "Pleural Effusion",
  "Pneumothorax": "Pneumothorax",
  "Consolidation": "Consolidation",
  "Nodule/Mass": "Lung Opacity",
  "Atelectasis": "Atelectasis",
};

/** In the order of the release. */
const CATEGORIES = [
  "Atelectasis",
  "Cardiomegaly",
  "Consolidation",
  "Edema",
  "Lung Opacity",
  "Pleural Effusion",
  "Pneumonia",
  "Pneumothorax",
];

/** Phrases of the findings with the boxes they speak of. */
export function groundedPhrases({ chest }: PhantomCase) {
  const { findings: { text, phrases } } = chestReport(chest!, textRandom(chest!));
  return phrases.flatMap(({ span, targets }) => {
    const category = msCxrNames[targets[0].label];
    return category === undefined
      ? []
      : targets.map(({ box }) => ({ text: text.slice(...span), category, box }));
  });
}

/** MS-CXR: phrases with boxes, as JSON and as CSV. */
export const msCxr: PhantomFormat = {
  name: "ms-cxr",
  about: "MS-CXR: phrases with boxes as JSON and CSV, JPEG",
  kinds: ["cxr"],
  reader: "ms_cxr",
  parts: ["train", "validate", "test"],
  async write(cases, folder) {
    const images: unknown[] = [], annotations: unknown[] = [], rows: (string | number)[][] = [];
    for (const one of cases) {
      const { folder: study, picture } = mimicNames(one);
      const path = `${study}/${picture}.jpg`, { width, height } = one.picture;
      await writeFile(folder, path, jpg(one.picture));
      const phrases = groundedPhrases(one);
      if (phrases.length === 0) continue;
      const id = images.length + 1, split = one.split === "validate" ? "val" : one.split!;
      images.push({
        id,
        width,
        height,
        file_name: `${picture}.jpg`,
        path,
        num_annotations: phrases.length,
      });
      for (const { text, category, box: [x0, y0, x1, y1] } of phrases) {
        const bbox = [x0, y0, x1 - x0, y1 - y0];
        annotations.push({
          id: annotations.length + 1,
          image_id: id,
          category_id: CATEGORIES.indexOf(category) + 1,
          label_text: text,
          bbox,
          split,
        });
        rows.push([category, text, path, ...bbox, width, height, split]);
      }
    }
    const name = "MS_CXR_Local_Alignment_v1.1.0";
    await writeFile(
      folder,
      `${name}.json`,
      `${
        JSON.stringify({
          info: {
            description: "phrases of phantoms with the boxes they speak of",
            version: "1.1.0",
          },
          licenses: [],
          categories: CATEGORIES.map((name, index) => ({
            id: index + 1,
            name,
            supercategory: "disease",
          })),
          images,
          annotations,
        })
      }\n`,
    );
    const columns = ["category_name", "label_text", "path", "x", "y", "w", "h"];
    await writeFile(
      folder,
      `${name}.csv`,
      csvTable([...columns, "image_width", "image_height", "split"], rows),
    );
  },
};

/** IU X-Ray in the list of R2Gen. */
export const iuXray: PhantomFormat = {
  name: "iu-xray",
  about: "IU X-Ray: R2Gen's list as JSON, PNG",
  kinds: ["cxr"],
  reader: "iu_xray",
  parts: ["train", "validate", "test"],
  async write(cases, folder) {
    const parts = new Parts<unknown>();
    for (const one of cases) {
      const id = `CXR${one.number + 1}_IM-0001`,
        split = one.split === "validate" ? "val" : one.split;
      await writeFile(folder, `images/${id}/0.png`, png(one.picture));
      const report = `${one.findings} ${one.impression}`;
      parts.add(one, { id, report, image_path: [`${id}/0.png`], split });
    }
    const { train, val, test } = {
      train: parts.of("train"),
      val: parts.of("validate"),
      test: parts.of("test"),
    };
    await writeFile(folder, "annotation.json", `${JSON.stringify({ train, val, test })}\n`);
  },
};

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** What the collection calls the problems of a picture. */
export function indianaProblems({ chest }: PhantomCase): string[] {
  const labels = localLabels(chest!);
  return labels.length === 0 ? ["normal"] : labels;
}

/** The XML reports of Open-i. */
export const openi: PhantomFormat = {
  name: "openi",
  about: "Open-i: reports as XML, PNG",
  kinds: ["cxr"],
  reader: "openi",
  parts: [],
  async write(cases, folder) {
    for (const one of cases) {
      const number = one.number + 1, picture = `CXR${number}_IM-0001-1001`;
      await writeFile(folder, `${picture}.png`, png(one.picture));
      const texts = {
        INDICATION: `${one.age}-year-old`,
        FINDINGS: one.findings,
        IMPRESSION: one.impression,
      };
      const sections = Object.entries(texts).map(([label, text]) =>
        `<AbstractText Label="${label}">${escaped(text)}</AbstractText>`
      );
      const problems = indianaProblems(one).map((label) => `<major>${escaped(label)}</major>`);
      await writeFile(
        folder,
        `ecgen-radiology/${number}.xml`,
        `<?xml version="1.0" encoding="utf-8"?>\n<eCitation>\n<uId id="CXR${number}"/>\n` +
          `<MedlineCitation><Article><Abstract>\n${
            sections.join("\n")
          }\n</Abstract></Article></MedlineCitation>\n` +
          `<MeSH>\n${problems.join("\n")}\n</MeSH>\n<parentImage id="${picture}"/>\n</eCitation>\n`,
      );
    }
  },
};

/** The same collection as tables. */
export const indiana: PhantomFormat = {
  name: "indiana",
  about: "Indiana chest X-rays: reports and projections as CSV, PNG",
  kinds: ["cxr"],
  reader: "indiana",
  parts: [],
  async write(cases, folder) {
    const reports: (string | number)[][] = [], projections: (string | number)[][] = [];
    for (const one of cases) {
      const uid = one.number + 1, file = `${uid}_IM-0001-1001.dcm.png`;
      await writeFile(folder, `images/images_normalized/${file}`, png(one.picture));
      projections.push([uid, file, "Frontal"]);
      const problems = indianaProblems(one).join(";");
      const indication = `${one.age}-year-old`, image = "Xray Chest PA";
      reports.push([
        uid,
        problems,
        problems,
        image,
        indication,
        "None.",
        one.findings,
        one.impression,
      ]);
    }
    await writeFile(
      folder,
      "indiana_projections.csv",
      csvTable(["uid", "filename", "projection"], projections),
    );
    const columns = ["uid", "MeSH", "Problems", "image", "indication", "comparison"];
    await writeFile(
      folder,
      "indiana_reports.csv",
      csvTable([...columns, "findings", "impression"], reports),
    );
  },
};
