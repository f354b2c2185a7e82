/**
 * The Indiana University chest X-rays (Demner-Fushman et al., JAMIA 2016): the original XML reports of Open-i and the
 * same reports as one table.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { csvRecords } from "./csv.ts";
import { FieldError, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type Reading } from "./reader.ts";
import {
  joinSections,
  MAX_REPORT,
  REPORT_PROMPT,
  sectionAttributes,
  studyPictures,
} from "./reports.ts";
import { decodeUtf8 } from "./text_records.ts";

const ENTITIES: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
};

/** Replaces the references of XML; unknown ones stay. */
function plainText(xml: string): string {
  return xml.replace(/&(#x[0-9a-fA-F]{1,6}|#\d{1,7}|\w{2,6});/g, (whole, name: string) => {
    if (!name.startsWith("#")) return ENTITIES[name] ?? whole;
    const code = name[1] === "x" ? parseInt(name.slice(2), 16) : Number(name.slice(1));
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  }).replace(/\s+/g, " ").trim();
}

/** Reports of Open-i are small and of one form, so that two patterns find what is needed. */
function parseReport(xml: string) {
  const sections = new Map<string, string>();
  for (const [, label, text] of xml.matchAll(/<AbstractText\s+Label="([^"]*)"\s*>([^<]*)</g)) {
    sections.set(label.toUpperCase(), plainText(text));
  }
  if (sections.size === 0) throw new FieldError("there is no AbstractText with a label");
  return {
    findings: sections.get("FINDINGS"),
    impression: sections.get("IMPRESSION"),
    indication: sections.get("INDICATION"),
    comparison: sections.get("COMPARISON"),
    id: /<uId\s+id="([^"]+)"/.exec(xml)?.[1],
    images: [...xml.matchAll(/<parentImage\s+id="([^"]+)"/g)].map(([, id]) => id),
    labels: [...xml.matchAll(/<major>([^<]*)<\/major>/g)].map(([, label]) => plainText(label)),
  };
}

async function xmlExample(reading: Reading, file: string): Promise<Example> {
  using source = await reading.folder.open(file);
  if (source.size > MAX_REPORT) throw new FieldError(`${source.size} bytes are no report`);
  const xml = decodeUtf8(await source.read(0, source.size));
  if (xml === undefined) throw new FieldError("not UTF-8 text");
  const report = parseReport(xml);
  const answer = joinSections(report);
  if (answer === "") throw new FieldError("the report has neither findings nor impression");
  const choices = report.images.map((
    id,
  ) => [`${id}.png`, `images/${id}.png`, `NLMCXR_png/${id}.png`]);
  return {
    id: report.id ?? file,
    ...await studyPictures(reading, choices),
    task: "report",
    prompt: REPORT_PROMPT,
    answer,
    ...(report.labels.length > 0 ? { labels: report.labels } : {}),
    ...sectionAttributes(report, { indication: report.indication, comparison: report.comparison }),
  };
}

/** Open-i's XML files. Without full text in findings and impression a report is a problem. */
export const openi: DatasetReader = defineReader({
  name: "openi",
  description: "Indiana University chest X-rays: the XML reports of Open-i",
  files: "ecgen-radiology/*.xml; pictures CXR*.png in the folder itself, images/ or NLMCXR_png/",
  async *examples(reading) {
    const names = (await reading.list("ecgen-radiology")).filter((name) => name.endsWith(".xml"));
    if (names.length === 0) throw reading.noFiles("ecgen-radiology/*.xml");
    names.sort((one, other) => parseInt(one) - parseInt(other));
    for (const name of names) {
      const file = `ecgen-radiology/${name}`;
      const example = await reading.attempt({ file }, () => xmlExample(reading, file));
      if (example) yield example;
    }
  },
});

/** A picture of a study, and whether it is a frontal one. */
interface Projection {
  readonly file: string;
  readonly frontal: boolean;
}

/** The pictures of every study, frontal ones first. */
async function projections(reading: Reading, name: string): Promise<Map<string, Projection[]>> {
  const found = new Map<string, Projection[]>();
  if (!await reading.folder.has(name)) return found;
  using file = await reading.folder.open(name);
  for await (
    const { values, problem, line } of csvRecords(file, ["uid", "filename", "projection"])
  ) {
    await reading.attempt({ file: name, line }, () => {
      if (values === undefined) throw new FieldError(problem ?? "malformed");
      const picture = {
        file: textOf(values, "filename"),
        frontal: values.projection === "Frontal",
      };
      const id = textOf(values, "uid");
      found.set(id, [...(found.get(id) ?? []), picture]);
    });
  }
  for (const pictures of found.values()) {
    pictures.sort((one, other) => Number(other.frontal) - Number(one.frontal));
  }
  return found;
}

/** The CSV form of the same collection. */
export const indiana: DatasetReader = defineReader({
  name: "indiana",
  description: "Indiana University chest X-rays: the reports as one table",
  files:
    "indiana_reports.csv, indiana_projections.csv; pictures in images/images_normalized/ or images/",
  async *examples(reading) {
    const name = "indiana_reports.csv";
    if (!await reading.folder.has(name)) throw reading.noFiles(name);
    const images = await projections(reading, "indiana_projections.csv");
    using file = await reading.folder.open(name);
    for await (
      const { values, problem, line } of csvRecords(file, ["uid", "findings", "impression"])
    ) {
      const example = await reading.attempt({ file: name, line }, async (): Promise<Example> => {
        if (values === undefined) throw new FieldError(problem ?? "malformed");
        const uid = textOf(values, "uid");
        const sections = { findings: values.findings.trim(), impression: values.impression.trim() };
        const answer = joinSections(sections);
        if (answer === "") throw new FieldError("the report has neither findings nor impression");
        const choices = (images.get(uid) ?? []).map(({ file }) => [
          `images/images_normalized/${file}`,
          `images/${file}`,
          file,
        ]);
        const problems = values.Problems?.split(";").map((one) => one.trim()).filter(Boolean);
        return {
          id: uid,
          ...await studyPictures(reading, choices),
          task: "report",
          prompt: REPORT_PROMPT,
          answer,
          ...(problems?.length ? { labels: problems } : {}),
          ...sectionAttributes(sections, {
            indication: values.indication,
            comparison: values.comparison,
            views: values.image,
          }),
        };
      });
      if (example) yield example;
    }
  },
});
