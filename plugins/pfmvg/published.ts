/**
 * Tables 1 to 4 of the PFMVG paper as data: IoU and Dice on MS-CXR per disease, the plain mean over diseases and the mean weighted
 * by samples. They need the authors' weights and data; they are printed beside other results and are no target of tests.
 *
 * @module
 */
import type { PublishedTable } from "@medvlm/core";
import { diseases } from "./ms_cxr.ts";

/** A row of a table. Values are fractions; undefined where the paper prints a dash. */
export interface PublishedRow {
  /** Table of the paper. */
  readonly table: 1 | 2 | 3 | 4;
  /** Measure of the table. */
  readonly measure: "iou" | "dice";
  /** Method, or the stages of an ablation. */
  readonly name: string;
  /** In the order of {@linkcode diseases}. */
  readonly perDisease: readonly (number | undefined)[];
  /** Plain mean over the diseases, a dash counted as 0. */
  readonly mean: number;
  /** wIoU or wDice. Rows seem to be weighted by different sample sets and do not compare with each other. */
  readonly weighted: number | undefined;
}

/** A row as printed: eight diseases, mean, weighted mean. */
function row(
  table: PublishedRow["table"],
  name: string,
  ...values: readonly (number | undefined)[]
): PublishedRow {
  return {
    table,
    measure: table % 2 === 1 ? "iou" : "dice",
    name,
    perDisease: values.slice(0, diseases.length),
    mean: values[diseases.length]!,
    weighted: values[diseases.length + 1],
  };
}

const dash = undefined;

/** All rows. */
export const publishedRows: readonly PublishedRow[] = [
  row(1, "MSLL", 0.425, 0.106, 0.386, 0.388, 0.294, 0.33, 0.325, 0.368, 0.328, 0.308),
  row(1, "MedKLIP", 0.297, 0.091, 0.265, 0.323, 0.327, 0.395, 0.197, 0.216, 0.264, 0.267),
  row(1, "BioViL", 0.328, 0.137, 0.297, 0.275, 0.213, 0.406, 0.188, 0.224, 0.259, 0.281),
  row(1, "GLoRIA", 0.29, 0.116, 0.304, 0.303, 0.201, 0.408, 0.197, 0.33, 0.269, 0.282),
  row(1, "GPT-4v", dash, dash, dash, dash, dash, dash, dash, dash, 0.0833, dash),
  row(1, "PFMVG", 0.446, 0.303, 0.343, 0.395, 0.286, 0.592, 0.28, 0.374, 0.377, 0.407),
  row(2, "MSLL", 0.576, 0.163, 0.538, 0.538, 0.433, 0.485, 0.468, 0.525, 0.466, 0.44),
  row(2, "MedKLIP", 0.443, 0.151, 0.401, 0.476, 0.476, 0.559, 0.307, 0.344, 0.395, 0.396),
  row(2, "BioViL", 0.472, 0.217, 0.433, 0.405, 0.326, 0.56, 0.294, 0.352, 0.382, 0.408),
  row(2, "GLoRIA", 0.417, 0.181, 0.443, 0.442, 0.315, 0.567, 0.298, 0.476, 0.392, 0.407),
  row(2, "PFMVG", 0.584, 0.43, 0.489, 0.543, 0.401, 0.736, 0.405, 0.519, 0.513, 0.544),
  row(3, "no stage", 0.118, 0.041, 0.104, 0.098, 0.108, 0.136, 0.137, 0.069, 0.101, 0.101),
  row(3, "stage 2", 0.418, 0.159, 0.345, 0.419, 0.409, 0.607, 0.24, 0.256, 0.357, 0.374),
  row(3, "stage 1", 0.049, dash, dash, dash, dash, 0, dash, 0, 0.006, 0.016),
  row(3, "both stages", 0.446, 0.303, 0.343, 0.395, 0.286, 0.592, 0.28, 0.374, 0.377, 0.407),
  row(4, "no stage", 0.184, 0.071, 0.167, 0.157, 0.181, 0.221, 0.212, 0.116, 0.164, 0.163),
  row(4, "stage 2", 0.55, 0.231, 0.464, 0.546, 0.524, 0.746, 0.336, 0.354, 0.469, 0.488),
  row(4, "stage 1", 0.094, dash, dash, dash, dash, 0, dash, 0, 0.012, 0.031),
  row(4, "both stages", 0.584, 0.43, 0.489, 0.543, 0.401, 0.736, 0.405, 0.519, 0.513, 0.544),
];

/** A comparison with other methods. The ablations, tables 3 and 4, say nothing about other models. */
function comparison(table: 1 | 2): PublishedTable {
  const rows = publishedRows.filter((row) => row.table === table);
  const { measure } = rows[0]!;
  const metric = `box_${measure}`;
  return {
    title: `${measure === "iou" ? "IoU" : "Dice"} of boxes per disease`,
    source: `arXiv 2410.23822, table ${table}`,
    dataset: "ms_cxr",
    task: "ground-box",
    variant: "pfmvg",
    columns: [
      ...diseases.map((disease) => ({ name: disease, metric, class: disease })),
      { name: "mean", metric: `class_mean_${metric}` },
      { name: measure === "iou" ? "wIoU" : "wDice", metric },
    ],
    rows: rows.map(({ name, perDisease, mean, weighted }) => ({
      name,
      values: [...perDisease, mean, weighted],
    })),
  };
}

/** Tables 1 and 2. */
export const published: readonly PublishedTable[] = [comparison(1), comparison(2)];
