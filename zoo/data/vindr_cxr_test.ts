/** VinDr-CXR against what LiteGPT's own label preparation makes of the same files. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Box, Example } from "@medvlm/core";
import { decodeImage } from "@medvlm/core/image";
import { mergeDuplicateBoxes, vindrLabel } from "./mod.ts";
import { folderOf, goldenFolder, readAllExamples } from "./readers_testing.ts";

/** Rounds halves to the even neighbour, as Python does. */
function roundHalfEven(value: number): number {
  const low = Math.floor(value), rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}

/** LiteGPT's text of the boxes, in whole percent; its order of findings is arbitrary and sorted in the reference. */
function localText({ findings }: Example, width: number, height: number): string {
  const places = findings!.flatMap(({ label, boxes }) =>
    boxes.map((box) => {
      const marks = box.map((side, index) =>
        `<${roundHalfEven(side / (index % 2 === 0 ? width : height) * 100)}>`
      );
      return `<p>${label}</p> {${marks.join("")}}`;
    })
  );
  const list = places.length === 0 ? "No finding" : places.sort().join(",");
  return `Local diseases of this chest radiograph are ${list}.`;
}

Deno.test("boxes merge and labels join as LiteGPT's own preparation does", async () => {
  const folder = await goldenFolder("vindr_cxr");
  const { examples, problems } = await readAllExamples("vindr_cxr", folder);
  assertEquals([examples.length, problems.length], [8, 0]);
  const expected = async (name: string) => {
    using file = await folder.open(`expected/${name}`);
    const list = JSON.parse(new TextDecoder().decode(await file.read(0, file.size)));
    return list as Record<string, string>[];
  };
  for (const { image_id, local_labels } of await expected("local_labels_train_v3.json")) {
    const example = examples.find(({ id }) => id === `${image_id}/local`)!;
    using file = await folder.open(example.image);
    const { raster } = await decodeImage(await file.read(0, file.size), example.image);
    assertEquals(localText(example, raster.width, raster.height), local_labels);
  }
  for (const { image_id, global_labels } of await expected("global_labels_train_v3.json")) {
    const { labels } = examples.find(({ id }) => id === `${image_id}/global`)!;
    assertEquals(
      `Global diseases of this chest radiograph are ${labels!.join(", ")}.`,
      global_labels,
    );
  }
});

Deno.test("the grouping depends on the order of the rows, as published", () => {
  // Neighbours at a distance of 20 overlap by 80 of 120, those at 40 by 60 of 140.
  const at = (...tops: number[]) => tops.map((top): Box => [0, top, 99, top + 99]);
  assertEquals(mergeDuplicateBoxes(at(0, 20, 40, 60)), [0]);
  // Here 40 joins 60 first and is then moved to the group of 0 and 20.
  assertEquals(mergeDuplicateBoxes(at(0, 60, 20, 40)), [0, 1]);
  assertEquals(mergeDuplicateBoxes(at(0, 40)), [0, 1]);
  assertEquals(mergeDuplicateBoxes([]), []);
});

Deno.test("merging keeps the first box and never two that are the same", () => {
  const side = fc.integer({ min: 0, max: 40 });
  const box = fc.tuple(side, side, fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 30 }))
    .map(([x, y, width, height]): Box => [x, y, x + width, y + height]);
  fc.assert(fc.property(fc.array(box, { minLength: 1, maxLength: 12 }), (boxes) => {
    const kept = mergeDuplicateBoxes(boxes);
    assertEquals(kept[0], 0);
    assertEquals(kept, [...new Set(kept)].sort((one, other) => one - other));
    const doubled = boxes.flatMap((one) => [one, one]);
    const texts = mergeDuplicateBoxes(doubled).map((index) => doubled[index].join());
    assertEquals(new Set(texts).size <= new Set(boxes.map(String)).size, true);
  }));
});

Deno.test("both names of the other diseases, and the test files without readers", async () => {
  assertEquals([vindrLabel("Other disease"), vindrLabel("Other diseases ")], [
    "Other diseases",
    "Other diseases",
  ]);
  const { examples, problems } = await readAllExamples(
    "vindr_cxr",
    folderOf({
      "annotations/annotations_test.csv":
        "image_id,class_name,x_min,y_min,x_max,y_max\na,ILD,1,2,30,40\na,ILD,5,5,5,9\nb,No finding,,,,\n",
      "annotations/image_labels_test.csv":
        "image_id,ILD,COPD,Other disease,No finding\na,1,0,1,0\nb,0,0,0,1\nc,0,1,0,1\nd,0,2,0,0\n",
      "test/a.dicom": "",
      "test/b.dicom": "",
      "images/c.png": "",
    }),
  );
  assertEquals(examples.map(({ id, labels }) => [id, labels]), [
    ["a/local", ["ILD"]],
    ["a/global", ["Other diseases"]],
    ["b/local", ["No finding"]],
    ["b/global", ["No finding"]],
    ["c/global", ["COPD", "No finding"]],
  ]);
  assertEquals(examples.map(({ attributes }) => attributes?.conflict), [
    undefined,
    undefined,
    undefined,
    undefined,
    "yes",
  ]);
  assertEquals(problems.map(({ file, line, message }) => `${file}:${line}: ${message}`), [
    "annotations/annotations_test.csv:3: the box has no area",
    'annotations/image_labels_test.csv:5: "COPD" is neither 0 nor 1',
  ]);
});
