/**
 * ChestX-Det (Lian et al., 2021): boxes and outlines of thirteen findings on NIH pictures.
 *
 * @module
 */
import type { Finding } from "@medvlm/core";
import {
  asList,
  asNumber,
  asText,
  boxOfCorners,
  FieldError,
  type Fields,
  textOf,
} from "./fields.ts";
import { type DatasetReader, defineReader } from "./reader.ts";
import { listedExamples } from "./vqa_records.ts";

const PARTS = [
  { file: "ChestX_Det_train.json", split: "train" },
  { file: "ChestX_Det_test.json", split: "test" },
] as const;
/** Most objects of a picture, and most corners of an outline. */
const MAX_OBJECTS = 1000, MAX_CORNERS = 100_000;

function outlineOf(value: unknown): (readonly [number, number])[] {
  const corners = asList(value, "an outline");
  if (corners.length > MAX_CORNERS) throw new FieldError(`an outline of ${corners.length} corners`);
  return corners.map((corner) => {
    const [x, y] = asList(corner, "a corner");
    return [asNumber(x, "a corner"), asNumber(y, "a corner")];
  });
}

function findingsOf(fields: Fields): Finding[] {
  const labels = asList(fields.syms, '"syms"'), boxes = asList(fields.boxes, '"boxes"');
  const outlines = fields.polygons === undefined
    ? undefined
    : asList(fields.polygons, '"polygons"');
  if (boxes.length !== labels.length || (outlines && outlines.length !== labels.length)) {
    throw new FieldError(`${labels.length} labels for ${boxes.length} boxes`);
  }
  if (labels.length > MAX_OBJECTS) throw new FieldError(`${labels.length} objects`);
  return labels.map((label, index) => ({
    label: asText(label, "a label"),
    boxes: [boxOfCorners(boxes[index])],
    ...(outlines ? { polygons: [outlineOf(outlines[index])] } : {}),
  }));
}

/** ChestX-Det; pictures without objects are answered `No finding.` */
export const chestxDet: DatasetReader = defineReader({
  name: "chestx_det",
  description: "ChestX-Det: boxes and outlines of findings on chest radiographs",
  files:
    "ChestX_Det_train.json, ChestX_Det_test.json; pictures in train_data/, test_data/ or images/",
  examples: (reading) =>
    listedExamples(reading, PARTS, async ({ fields, part }) => {
      const name = textOf(fields, "file_name"), folder = part.split ?? "train";
      const findings = findingsOf(fields);
      const labels = [...new Set(findings.map(({ label }) => label))];
      return {
        id: name,
        image: await reading.image(
          `images/${name}`,
          `${folder}_data/${name}`,
          `${folder}_data/${folder}/${name}`,
          `${folder}/${name}`,
          name,
        ),
        task: "ground-box",
        prompt: "Which findings does this chest radiograph show, and where?",
        answer: `${labels.length === 0 ? "No finding" : labels.join(", ")}.`,
        findings,
        labels: labels.length === 0 ? ["No finding"] : labels,
        ...(part.split ? { split: part.split } : {}),
      };
    }),
});
