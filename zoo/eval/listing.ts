/**
 * What a dataset holds, for a terminal.
 *
 * @module
 */
import { formatTable } from "../terminal.ts";
import type { Survey } from "./selection.ts";

/** Names of a list; the others are counted. */
const shownNames = 30;

function countsLine(title: string, counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts);
  if (entries.length === 0) return "";
  const shown = entries.slice(0, shownNames).map(([name, count]) => `${name} ${count}`);
  const rest = entries.length > shownNames ? `, and ${entries.length - shownNames} more` : "";
  return `${title}: ${shown.join(", ")}${rest}\n`;
}

/** Parts as rows, tasks as columns. */
function partsTable({ parts, examples }: Survey): string {
  const tasks = [...new Set(parts.map(({ task }) => task))];
  const splits = [...new Set(parts.map(({ split }) => split))];
  const count = (split: string, task: string) =>
    parts.find((one) => one.split === split && one.task === task)?.count ?? 0;
  const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0);
  return formatTable([
    ["split", ...tasks, "all"],
    ...splits.map((split) => {
      const counts = tasks.map((task) => count(split, task));
      return [split, ...counts.map(String), String(sum(counts))];
    }),
    [
      "all",
      ...tasks.map((task) => String(sum(splits.map((one) => count(one, task))))),
      `${examples}`,
    ],
  ]);
}

/** The survey of a dataset as text. */
export function surveyText(name: string, survey: Survey): string {
  const { images, missingImages, patients, withChoices } = survey;
  const missing = missingImages > 0 ? ` (${missingImages} of them not there)` : "";
  const named = patients > 0 ? `, ${patients} patients` : "";
  return [
    `${name}: ${survey.examples} examples, ${images} pictures or volumes${missing}${named}, ${survey.skipped} records left out\n\n`,
    survey.examples > 0 ? `${partsTable(survey)}\n` : "",
    countsLine("Questions", survey.answerTypes),
    withChoices > 0 ? `With choices: ${withChoices}\n` : "",
    countsLine("Kinds", survey.categories),
    countsLine("Boxes", survey.boxes),
    countsLine("Masks", survey.masks),
    countsLine("Labels", survey.labels),
  ].join("");
}
