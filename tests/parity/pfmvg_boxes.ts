/**
 * Reference cases of boxes as text: encoding, decoding of well-formed and malformed answers, overlap, the MS-CXR samples.
 *
 * @module
 */
import { readAll } from "../../core/files.ts";
import {
  boxToPixels,
  cleanBoxAnswer,
  dice,
  diceInclusive,
  iou,
  iouInclusive,
  parseDemoBox,
} from "../../core/eval/mod.ts";
import { decodeImage } from "../../core/image/mod.ts";
import {
  gridBoxText,
  parseGroundedText,
  pixelsToGrid,
  writeGroundedText,
} from "../../core/text/mod.ts";
import { readBox, scoreAnswer } from "../../plugins/pfmvg/evaluation.ts";
import { boxAnswer } from "../../plugins/pfmvg/ms_cxr.ts";
import { pools, referSentence, trainingInstruction } from "../../plugins/pfmvg/prompt.ts";
import { caseJson } from "./case_files.ts";
import type { Report } from "./harness.ts";

const floats = { rtol: 1e-9, atol: 1e-12 };

type Corners = [number, number, number, number];

/** An annotation x, y, w, h as corners. */
export function cornersOf([x, y, w, h]: Corners): Corners {
  return [x, y, x + w, y + h];
}

// deno-lint-ignore no-explicit-any
function compareEncoding(cases: any[], report: Report): void {
  for (const { width, height, bbox_xywh: box, scaled, text } of cases) {
    const name = `encode ${box.join(" ")} in ${width}x${height}`;
    const corners = cornersOf(box);
    const share = corners.map((value, i) => value / (i % 2 === 0 ? width : height) * 100);
    report.close(`${name} scaled`, share, scaled, floats);
    const grid = pixelsToGrid(corners, width, height);
    report.exact(name, [gridBoxText(grid), boxAnswer(box, { width, height })], [text, text]);
    // What is written reads back, moved to the border where the box leaves the image.
    const [read] = parseGroundedText(writeGroundedText([{ boxes: [grid] }])).boxes;
    const leaves = grid.some((value) => value < 0 || value > 100);
    report.exact(
      `${name} read again`,
      read.outcome === "rejected" ? read.fault : [read.outcome, ...read.box],
      [leaves ? "repaired" : "kept", ...grid.map((one) => Math.min(100, Math.max(0, one)))],
    );
  }
}

/** What the demo draws: on an image of 500 pixels' width. */
function demoBox(answer: string, width: number, height: number): unknown {
  const box = parseDemoBox(answer);
  if (box === undefined) return null;
  if (box === "phrases") return "grounded-phrases";
  return boxToPixels(box, 500, Math.trunc(500 / width * height)).map((value) => Math.trunc(value));
}

// deno-lint-ignore no-explicit-any
function compareDecoding(decode: any, report: Report): void {
  const { width, height, gt_bbox_xywh: truth, cases } = decode;
  for (const { answer, cleaned, valid, norm, box, box_rounded: rounded, ...rest } of cases) {
    const name = `decode ${JSON.stringify(answer)}`;
    const read = readBox(answer, { width, height });
    report.exact(
      name,
      [cleanBoxAnswer(answer), read !== undefined, read?.grid ?? null, read?.rounded ?? null],
      [cleaned, valid, norm, rounded],
    );
    report.close(`${name} pixels`, read?.exact ?? [], box ?? [], floats);
    const scores = scoreAnswer({ answer, width, height, truth: cornersOf(truth), category: "" });
    report.close(
      `${name} overlap`,
      [scores.iou, scores.dice, scores.iouInclusive, scores.diceInclusive],
      [rest.iou, rest.dice, rest.iou_plus1, rest.dice_plus1],
      floats,
    );
    const drawn = demoBox(answer, width, height);
    report.exact(`${name} demo`, drawn, rest.demo_box_on_500px_wide_image);
  }
}

// deno-lint-ignore no-explicit-any
async function compareDataset(dir: string, dataset: any, report: Report): Promise<void> {
  const { images, annotations } = await caseJson(`${dir}/${dataset.annotation_file}`);
  for (const row of dataset.rows) {
    const { image_id: id, label_text: label, bbox } = annotations[row.index];
    const { path } = images.find((image: { id: number }) => image.id === id);
    const file = `${dir}/${dataset.image_root}/${path}`;
    const { raster } = await decodeImage(await readAll(file), file);
    report.exact(
      `sample ${row.index}`,
      [
        referSentence(label),
        boxAnswer(bbox, raster),
        trainingInstruction(pools.refer[0], label, "pefomed"),
        pools.refer.map((instruction) => trainingInstruction(instruction, label, "pefomed")),
      ],
      [row.refer_sentence, row.answer, row.eval_text_input, row.train_text_input],
    );
  }
}

/** Runs a case of boxes as text. */
export async function runBoxCodec(dir: string, report: Report): Promise<void> {
  const given = await caseJson(`${dir}/case.json`);
  report.exact("instructions", pools.refer, given.instruction_pool);
  compareEncoding(given.encode, report);
  compareDecoding(given.decode, report);
  for (const { text, width, height, box_rounded: rounded } of given.paper_examples ?? []) {
    report.exact(`figure ${text}`, readBox(text, { width, height })?.rounded, rounded);
  }
  for (const { a, b, ...expected } of given.iou_pairs ?? []) {
    report.close(
      `overlap of ${a.join(" ")} and ${b.join(" ")}`,
      [iou(a, b), dice(a, b), iouInclusive(a, b), diceInclusive(a, b)],
      [expected.iou, expected.dice, expected.iou_plus1, expected.dice_plus1],
      floats,
    );
  }
  if (given.dataset !== undefined) await compareDataset(dir, given.dataset, report);
}
