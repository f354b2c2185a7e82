/**
 * The numbers of an evaluation beside those that papers print about the same dataset.
 *
 * @module
 */
import type { PublishedColumn, PublishedTable, Task } from "@medvlm/core";
import { loadPlugin, pluginNames } from "../plugins.ts";
import type { TaskScores } from "./family.ts";
import { variantName } from "./metric_texts.ts";
import type { ScoredTask } from "./score.ts";

/** A table to print. */
export interface Comparison {
  /** What it shows and where the paper has it. */
  readonly title: string;
  /** Heads of the columns; the first is that of the names of rows. */
  readonly heads: readonly string[];
  /** Rows of this evaluation, then those of the paper, which say so. */
  readonly rows: readonly (readonly string[])[];
}

/** Said once with every comparison. */
export const comparisonNote =
  "Rows of a paper come from its own weights, data and split: they show the scale and decide nothing.";

/** Tables about a dataset in the papers of all systems. */
export async function publishedTables(dataset: string | undefined): Promise<PublishedTable[]> {
  if (dataset === undefined) return [];
  const tables: PublishedTable[] = [];
  for (const name of pluginNames) tables.push(...(await loadPlugin(name)).published ?? []);
  return tables.filter((table) => table.dataset === dataset);
}

const cell = (value: number | undefined) => value === undefined ? "-" : value.toFixed(3);

/** The number of a column; classes are found whatever their capitals. */
function estimateOf({ metrics, groups }: TaskScores, column: PublishedColumn, ending: string) {
  const { metric, class: wanted } = column;
  const name = `${metric}${ending}`;
  if (wanted === undefined) return metrics[name];
  return Object.entries(groups.class ?? {})
    .find(([one]) => one.trim().toLowerCase() === wanted.toLowerCase())?.[1][name];
}

/** A published table with the rows of an evaluation above its own: how many samples count, and what they come to. */
export function comparisonOf(table: PublishedTable, scores: TaskScores): Comparison {
  const { title, source, columns, variant } = table;
  const row = (ending: string) => columns.map((one) => estimateOf(scores, one, ending));
  const own = row("");
  const variants = variant === undefined ? [] : row(`_${variant}`);
  return {
    title: `${title} (${source})`,
    heads: ["", ...columns.map(({ name }) => name)],
    rows: [
      ["n", ...own.map((one) => `${one?.n ?? 0}`)],
      ["this evaluation", ...own.map((one) => cell(one?.value))],
      ...variants.every((one) => one === undefined) ? [] : [[
        `as ${variantName(variant!)}'s script counts`,
        ...variants.map((one) => cell(one?.value)),
      ]],
      ...table.rows.map(({ name, values }) => [`${name} (paper)`, ...values.map(cell)]),
    ],
  };
}

/** What an evaluation has to be compared with, task by task. */
export async function comparisonsOf(
  dataset: string | undefined,
  tasks: ReadonlyMap<Task, ScoredTask>,
): Promise<ReadonlyMap<Task, readonly Comparison[]>> {
  const tables = await publishedTables(dataset);
  return new Map(
    [...tasks].map(([task, { scores }]) => [
      task,
      tables.filter((table) => table.task === task).map((table) => comparisonOf(table, scores)),
    ]),
  );
}
