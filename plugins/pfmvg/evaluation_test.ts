import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { drawPicture } from "./augment.ts";
import { evaluateRefer, readBox, resultTable } from "./evaluation.ts";
import { diseaseOf, diseases } from "./ms_cxr.ts";
import { referQuestion, trainingInstruction } from "./prompt.ts";
import { publishedRows } from "./published.ts";
import { ablation, stageOf, stages } from "./stages.ts";

Deno.test("the paper's plain means follow from its columns, a dash counted as 0", () => {
  for (const { perDisease, mean, name, table } of publishedRows) {
    if (perDisease.every((value) => value === undefined)) continue;
    assertEquals(perDisease.length, diseases.length);
    const sum = perDisease.reduce<number>((total, value) => total + (value ?? 0), 0);
    assertAlmostEquals(sum / diseases.length, mean, 6e-4, `table ${table}, ${name}`);
  }
});

Deno.test("wIoU of a baseline follows from the counts of the whole of MS-CXR", () => {
  const counts = [182, 245, 117, 61, 46, 333, 82, 96];
  const row = publishedRows.find(({ name }) => name === "BioViL")!;
  const sum = counts.reduce((total, count, i) => total + count * row.perDisease[i]!, 0);
  assertAlmostEquals(sum / counts.reduce((a, b) => a + b), row.weighted!, 1e-3);
});

const size = { width: 1000, height: 1000 };
const answers = [
  { answer: "{<10><10><20><20>}", truth: [100, 100, 200, 200], category: "Edema", ...size },
  { answer: "none", truth: [0, 0, 500, 500], category: "Edema", ...size },
  { answer: "at {<0><0><50><50>", truth: [0, 0, 500, 500], category: "Pneumonia", ...size },
];

Deno.test("invalid answers count as 0; tolerant reading takes what can be repaired", () => {
  const official = evaluateRefer(answers, "official", diseases);
  assertEquals([official.iou.classMean, official.iou.mean], [0.25, 1 / 3]);
  assertEquals([official.iou.validFraction, official.accuracy], [1 / 3, 1 / 3]);
  const tolerant = evaluateRefer(answers, "tolerant");
  assertEquals([tolerant.dice.classMean, tolerant.dice.mean], [0.75, 2 / 3]);
  assertEquals(readBox("no box", size, "tolerant"), undefined);
});

Deno.test("a table of ours beside the paper's rows", () => {
  const lines = resultTable(evaluateRefer(answers), "dice", "ours", diseases).split("\n");
  assertEquals(lines.length, 3 + publishedRows.filter(({ table }) => table === 2).length);
  assertEquals(
    lines[2],
    "| ours | 0.000 | - | - | - | 0.500 | - | - | - | 0.250 | 0.333 |",
  );
  assert(lines[0]!.includes("Edema (2)") && lines[0]!.includes("Pneumothorax (0)"));
  assert(lines.some((line) => line.startsWith("| PFMVG (paper) | 0.584")));
});

Deno.test("prompts in both spellings", () => {
  assertEquals(
    trainingInstruction("[refer] where can I locate the {} ?", "Left Effusion."),
    "<Img><ImageHere></Img> [refer] where can I locate the left effusion ? ",
  );
  assertEquals(
    trainingInstruction("[refer] where can I locate the {} ?", "Left Effusion.", "pefomed"),
    "<img><imagehere></img> [refer] where can i locate the left effusion ?",
  );
  assertEquals(
    referQuestion("Left  pneumothorax!"),
    "[refer] give me the location of left pneumothorax",
  );
  assertEquals([diseaseOf("lung opacity"), diseaseOf("Fracture")], ["Lung Opacity", undefined]);
});

Deno.test("cut pictures keep a part of every box, literally cut ones do not move them", () => {
  let seed = 1;
  const uniform = () => (seed = seed * 16807 % 2147483647) / 2147483647;
  const boxes = [[10, 10, 30, 40], [60, 70, 90, 95]] as const;
  const picture = { width: 100, height: 100 };
  for (let n = 0; n < 50; n++) {
    const moved = drawPicture(picture, boxes, "moved", uniform);
    for (const [x0, y0, x1, y1] of moved.boxes) {
      assert(x0 >= 0 && y0 >= 0 && x0 < x1 && y0 < y1);
      assert(x1 <= moved.size.width && y1 <= moved.size.height && !moved.mirrored);
    }
    assertEquals(drawPicture(picture, boxes, "literal", uniform).boxes, boxes);
  }
  assertEquals(drawPicture(picture, boxes, "none", uniform).window, undefined);
});

Deno.test("stages and the rows of the ablation name each other", () => {
  assertEquals(stages.map(({ name }) => name), ["captioning", "grounding"]);
  assertEquals(Object.values(ablation).flat().map((name) => stageOf(name).name).length, 4);
  assertThrows(() => stageOf("none"), RangeError, "captioning, grounding");
});
