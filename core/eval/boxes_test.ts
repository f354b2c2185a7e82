import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { accuracyAtIouLitegpt, accuracyAtIouMetric } from "./accuracy_at_iou.ts";
import {
  boxToPixels,
  parseBoxAnswer,
  parseDemoBox,
  parseLabelledBoxes,
  removeBoxes,
  roundBox,
} from "./box_answers.ts";
import {
  type Box,
  boxL1,
  centreSize,
  cornersOf,
  dice,
  diceInclusive,
  giou,
  iou,
  iouInclusive,
} from "./boxes.ts";

const side = fc.integer({ min: 0, max: 60 });
const boxes = (dims: number): fc.Arbitrary<Box> =>
  fc.tuple(
    fc.array(side, { minLength: dims, maxLength: dims }),
    fc.array(side, {
      minLength: dims,
      maxLength: dims,
    }),
  ).map(([corner, size]) => [...corner, ...corner.map((low, i) => low + size[i])]);
const pairs = fc.constantFrom(1, 2, 3).chain((dims) => fc.tuple(boxes(dims), boxes(dims)));

Deno.test("IoU is symmetric, between 0 and 1, and Dice follows from it", () => {
  fc.assert(fc.property(pairs, ([a, b]) => {
    for (const [overlap, twice] of [[iou, dice], [iouInclusive, diceInclusive]]) {
      const value = overlap(a, b);
      assertEquals(value, overlap(b, a));
      assert(value >= 0 && value <= 1);
      assertAlmostEquals(twice(a, b), 2 * value / (1 + value), 1e-12);
    }
  }));
});

Deno.test("IoU of a box with itself is 1; GIoU is at most IoU and at least -1", () => {
  fc.assert(fc.property(pairs, ([a, b]) => {
    assertEquals(iouInclusive(a, a), 1);
    const value = giou(a, b);
    assert(value >= -1 && value <= iou(a, b) + 1e-12);
    assertAlmostEquals(value, giou(b, a), 1e-12);
  }));
});

Deno.test("the two pixel conventions", () => {
  // Two boxes of 10 x 10 that share a strip of 5 x 10.
  assertEquals(iou([0, 0, 10, 10], [5, 0, 15, 10]), 50 / 150);
  assertEquals(iouInclusive([0, 0, 9, 9], [5, 0, 14, 9]), 50 / 150);
  assertEquals(giou([0, 0, 1, 1], [2, 0, 3, 1]), -1 / 3);
  assertThrows(() => iou([0, 0, 1, 1], [0, 0, 0, 1, 1, 1]), RangeError);
});

Deno.test("centre and size, and back", () => {
  assertEquals(centreSize([0, 2, 10, 6]), [5, 4, 10, 4]);
  assertEquals(cornersOf([5, 4, 10, 4]), [0, 2, 10, 6]);
  assertEquals(boxL1([0, 2, 10, 6], [0, 2, 10, 10]), (2 + 4) / 4);
});

Deno.test("PFMVG's figure 2: answers become the printed pixel boxes", () => {
  const pixels = (answer: string, width: number, height: number) =>
    roundBox(boxToPixels(parseBoxAnswer(answer)!, width, height));
  assertEquals(pixels("{<56><12><82><31>}", 2544, 3056), [1425, 367, 2086, 947]);
  assertEquals(pixels("{<22><12><46><24>}", 2754, 2538), [606, 305, 1267, 609]);
});

Deno.test("only answers that start with a box are valid", () => {
  assertEquals(parseBoxAnswer("<unk> {< 1 ><2><3><4>} is the place"), [1, 2, 3, 4]);
  for (const answer of ["", "the box {<1><2><3><4>}", "{<1><2><3>}", "{<1000><2><3><4>}"]) {
    assertEquals(parseBoxAnswer(answer), undefined);
  }
  assertEquals(parseBoxAnswer("{<١><2><3><4>}"), [1, 2, 3, 4]);
});

Deno.test("the demo takes any four numbers, unless phrases have boxes of their own", () => {
  assertEquals(parseDemoBox("at [56, -12, 082, 31]"), [56, -12, 82, 31]);
  assertEquals(parseDemoBox("{<5.5><12><82><31>}"), undefined);
  assertEquals(parseDemoBox("<p>heart</p>{<1><2><3><4>} and"), "phrases");
  assertEquals(parseDemoBox("<p>heart</p>{<1><2><3><4>"), [1, 2, 3, 4]);
});

Deno.test("LiteGPT's answers: boxes with names, exactly one blank between", () => {
  const text = "<p>Edema</p> {<1><2><3><4>},<p>ILD</p>{<1><2><3><4>}, <p>ILD</p> {<5><6><7><80>}";
  assertEquals(parseLabelledBoxes(text), [
    { label: "Edema", box: [1, 2, 3, 4] },
    { label: "ILD", box: [5, 6, 7, 80] },
  ]);
  assertEquals(removeBoxes(text), "<p>Edema</p> ,<p>ILD</p>, <p>ILD</p> ");
});

Deno.test("accuracy at a threshold: strict, one prediction may serve several boxes", () => {
  const text = (box: string) => `<p>Edema</p> {${box}}`;
  const metric = accuracyAtIouLitegpt(0.5);
  // Inclusive pixels: 10 of 20 are shared, which is not MORE than a half.
  metric.add({ prediction: text("<0><0><9><0>"), reference: text("<0><0><19><0>") });
  metric.add({
    prediction: text("<0><0><9><9>"),
    reference: `${text("<0><0><9><9>")}${text("<0><0><9><8>")}`,
  });
  metric.add({ prediction: "nothing", reference: text("<0><0><9><9>") });
  assertEquals(metric.result(), {
    accuracy: 0.5,
    total: 4,
    classes: { Edema: { accuracy: 0.5, total: 4 } },
  });
  const loose = accuracyAtIouMetric({ threshold: 0.5, measure: iouInclusive, strict: false });
  loose.add({
    predictions: parseLabelledBoxes(text("<0><0><9><0>")),
    truths: parseLabelledBoxes(text("<0><0><19><0>")),
  });
  assertEquals(loose.result().accuracy, 1);
});
