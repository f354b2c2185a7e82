/**
 * Reference cases of the metrics: one JSON file per metric, named after it, with lists of inputs and expected values.
 *
 * @module
 */
import { caseJson } from "./case_files.ts";
import type { FoundCase } from "./harness.ts";
import { answerGroups } from "./metrics_answers.ts";
import { boxGroups } from "./metrics_boxes.ts";
import { textGroups } from "./metrics_text.ts";
import type { CompareGroup, MetricFile } from "./metrics_values.ts";

const groups: Readonly<Record<string, CompareGroup>> = {
  ...textGroups,
  ...boxGroups,
  ...answerGroups,
};

/** The comparison for a list of a file; the file's name may carry a suffix after a separator. */
function compareFor(stem: string, list: string): CompareGroup | undefined {
  const known = Object.keys(groups).filter((key) => key.endsWith(`/${list}`))
    .map((key) => key.slice(0, -list.length - 1))
    .filter((name) => stem === name || new RegExp(`^${name}[-_.@ 0-9]`).test(stem))
    .sort((a, b) => b.length - a.length)[0];
  return known === undefined ? undefined : groups[`${known}/${list}`];
}

/** A case per list of every JSON file of the folder. */
export async function findMetricCases(dir: string): Promise<FoundCase[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(dir)) {
    if (!entry.isDirectory && entry.name.endsWith(".json")) names.push(entry.name);
  }
  const found: FoundCase[] = [];
  for (const name of names.sort()) {
    const stem = name.slice(0, -".json".length);
    const json = await caseJson(`${dir}/${name}`);
    const tolerance = typeof json.tolerance === "number" ? { atol: json.tolerance } : {};
    const file: MetricFile = { dir, stem, json, tolerance };
    for (const list of Object.keys(json).filter((key) => /(^|_)cases$/.test(key))) {
      const compare = compareFor(stem, list);
      found.push({
        name: `metrics/${stem}${list === "cases" ? "" : `/${list}`}`,
        run: async (report) => {
          if (compare === undefined) {
            throw new Error(`No comparison for the metric ${stem}/${list}`);
          }
          await compare(json[list], report, file);
        },
      });
    }
  }
  return found;
}
