/**
 * Radiology reports: their sections, and what the readers of reports have in common.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { attributesOf, FieldError } from "./fields.ts";
import type { Reading } from "./reader.ts";

/** What is asked where a dataset of reports asks nothing. */
export const REPORT_PROMPT = "Describe the findings and the impression of this chest radiograph.";

/** The parts of a report that readers use. */
export interface ReportSections {
  /** What is seen. */
  readonly findings?: string;
  /** What it means. */
  readonly impression?: string;
  /** Other sections by their heading in lower case. */
  readonly others: Readonly<Record<string, string>>;
}

/** Longest report in characters. */
export const MAX_REPORT = 2 ** 20;

/** A heading: capitals at the start of a line, then a colon. */
const heading = /^[ \t]*([A-Z][A-Z /&,()-]{2,60}):/gm;

const oneLine = (text: string) => text.replace(/\s+/g, " ").trim();

/**
 * The sections of a report as MIMIC-CXR writes it. When no heading says which part is meant, the last paragraph is the
 * impression, as the dataset's own section files have it.
 */
export function reportSections(text: string): ReportSections {
  const heads = [...text.matchAll(heading)];
  const sections = new Map<string, string>();
  heads.forEach((head, index) => {
    const start = head.index + head[0].length;
    const body = oneLine(text.slice(start, heads[index + 1]?.index ?? text.length));
    const name = oneLine(head[1]).toLowerCase();
    const before = sections.get(name);
    if (body !== "") sections.set(name, before === undefined ? body : `${before} ${body}`);
  });
  const take = (...names: string[]) => {
    const name = names.find((one) => sections.has(one));
    const body = name === undefined ? undefined : sections.get(name);
    if (name !== undefined) sections.delete(name);
    return body;
  };
  const findings = take("findings", "finding", "findings and impression", "findings/impression");
  let impression = take("impression", "impressions", "conclusion", "wet read", "wet read version");
  if (findings === undefined && impression === undefined) {
    const last = text.trim().split(/\n\s*\n/).at(-1)!.replace(heading, "");
    impression = oneLine(last) || undefined;
  }
  return {
    ...(findings === undefined ? {} : { findings }),
    ...(impression === undefined ? {} : { impression }),
    others: Object.fromEntries(sections),
  };
}

/** Findings and impression in one text, as the lists of R2Gen join them. Empty when there is neither. */
export function joinSections({ findings, impression }: Omit<ReportSections, "others">): string {
  return [findings, impression].filter((part) => part !== undefined && part !== "").join(" ");
}

/** Findings and impression as attributes, with further texts. */
export function sectionAttributes(
  { findings, impression }: Omit<ReportSections, "others">,
  further: Readonly<Record<string, string | undefined>> = {},
): { attributes?: Record<string, string> } {
  return attributesOf({ findings, impression, ...further });
}

/** The first picture and the further ones, each under the first of its possible names that exists. */
export async function studyPictures(
  reading: Reading,
  choices: readonly (readonly string[])[],
): Promise<Pick<Example, "image" | "moreImages">> {
  if (choices.length === 0) {
    if (reading.options.missingImages === "keep") return { image: "" };
    throw new FieldError("it names no pictures");
  }
  const found: string[] = [];
  for (const names of choices) found.push(await reading.image(...names));
  const [image, ...moreImages] = found;
  return { image, ...(moreImages.length > 0 ? { moreImages } : {}) };
}
