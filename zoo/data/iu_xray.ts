/**
 * IU X-Ray in the list of R2Gen (Chen et al., EMNLP 2020), which most papers on report generation use, and plain lists of
 * pictures with reports as PeFoMed reads them.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { asFields, asList, asText, FieldError, type Fields, numbered, textOf } from "./fields.ts";
import { jsonRecords, wholeJson } from "./json_records.ts";
import { type DatasetReader, defineReader } from "./reader.ts";
import { REPORT_PROMPT, studyPictures } from "./reports.ts";
import { splitInName } from "./vqa_records.ts";

const R2GEN_PARTS = [["train", "train"], ["val", "validate"], ["test", "test"]] as const;

function r2genRecord(value: unknown): { fields: Fields; paths: string[] } {
  const fields = asFields(value);
  const paths = asList(fields.image_path, '"image_path"').map((path) => asText(path, "a path"));
  if (paths.length > 64) throw new FieldError(`${paths.length} pictures`);
  return { fields, paths };
}

/** The list of R2Gen; its list of MIMIC-CXR has the same form. */
export const iuXray: DatasetReader = defineReader({
  name: "iu_xray",
  description: "IU X-Ray as R2Gen divides it: two pictures and a report per study",
  files: "annotation.json; pictures images/CXR*/0.png and 1.png",
  async *examples(reading) {
    const file = "annotation.json";
    if (!await reading.folder.has(file)) throw reading.noFiles(file);
    const document = await wholeJson(reading.folder, file);
    for (const [key, split] of R2GEN_PARTS) {
      if (!reading.wants(split) || document[key] === undefined) continue;
      const list = await reading.attempt({ file }, () => asList(document[key], `"${key}"`));
      for (const [index, value] of (list ?? []).entries()) {
        const example = await reading.attempt(
          { file },
          () =>
            numbered(key, index, async (): Promise<Example> => {
              const { fields, paths } = r2genRecord(value);
              return {
                id: textOf(fields, "id"),
                ...await studyPictures(reading, paths.map((path) => [`images/${path}`, path])),
                task: "report",
                prompt: REPORT_PROMPT,
                answer: textOf(fields, "report"),
                split,
              };
            }),
        );
        if (example) yield example;
      }
    }
  },
});

/** Picture and report of an element, or of a member whose name is the picture's. */
function listedReport(key: string | undefined, value: unknown): { image: string; report: string } {
  if (key !== undefined) {
    return { image: key, report: asText(asList(value, "the reports")[0], "the first report") };
  }
  const fields = asFields(value);
  return { image: textOf(fields, "image_path"), report: textOf(fields, "report") };
}

/** Lists of pictures with reports: `[{image_path, report}]`, or `{picture: [report, ...]}` as for MIMIC-CXR. */
export const reportLists: DatasetReader = defineReader({
  name: "report_lists",
  description: "Lists of pictures with reports, as PeFoMed reads IU X-Ray and MIMIC-CXR",
  files: "*.json; pictures as the lists name them, here or in images/",
  async *examples(reading) {
    const files = (await reading.list()).filter((name) => name.endsWith(".json"));
    if (files.length === 0) throw reading.noFiles("*.json");
    for (const name of files) {
      const split = splitInName(name);
      if (split && !reading.wants(split)) continue;
      using file = await reading.folder.open(name);
      for await (const { key, value, problem, line } of jsonRecords(file)) {
        const example = await reading.attempt({ file: name, line }, async (): Promise<Example> => {
          if (problem !== undefined) throw new FieldError(problem);
          const { image, report } = listedReport(key, value);
          return {
            id: image,
            image: await reading.image(image, `images/${image}`),
            task: "report",
            prompt: REPORT_PROMPT,
            answer: report,
            ...(split ? { split } : {}),
          };
        });
        if (example) yield example;
      }
    }
  },
});
