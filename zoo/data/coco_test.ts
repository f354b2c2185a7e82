/** COCO lists: the sample, every form of mask, every layout, and what is malformed. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { decodeImage } from "@medvlm/core/image";
import { type FolderSource, InputError, type Mask } from "@medvlm/core";
import { askedOf } from "../eval/asking.ts";
import { maskOfPicture } from "../run_inputs.ts";
import { toRuns } from "./mask_runs.ts";
import { datasets } from "./mod.ts";
import { collect, folderOf, goldenFolder, readAllExamples } from "./readers_testing.ts";

const demo = () => Deno.readFile(new URL("../demo/chest_xray.jpg", import.meta.url));
const image = { id: 1, "file_name": "a.png", width: 4, height: 3 };
const category = { id: 1, name: "pleural_effusion" };

/** A list of one image and one category, with these annotations and whatever else. */
function listOf(annotations: unknown[], rest: Record<string, unknown> = {}): string {
  return JSON.stringify({ images: [image], categories: [category], annotations, ...rest });
}

const annotation = (fields: Record<string, unknown>) => ({
  image_id: 1,
  category_id: 1,
  ...fields,
});
const folderWith = (list: string) => folderOf({ "annotations.json": list, "a.png": "" });

/** Rows of a mask as text. */
const rowsOf = ({ width, height, data }: Mask) =>
  Array.from({ length: height }, (_, y) => data.slice(y * width, (y + 1) * width).join(""));

async function messagesOf(list: string): Promise<string[]> {
  const { problems } = await readAllExamples("coco", folderWith(list));
  assert(problems.every(({ file }) => file === "annotations.json"));
  return problems.map(({ message }) => message);
}

Deno.test("the sample: five structures, boxes of every part, masks as drawn", async () => {
  const folder = await goldenFolder("pneumocystis");
  const { examples, problems } = await readAllExamples("coco", folder, {
    images: folderOf({ "image.jpg": await demo() }),
  });
  assertEquals(problems, []);
  assertEquals(
    examples.map(({ id, findings }) => [id, findings![0].boxes]),
    [
      ["image.jpg/airways", [[336, 0, 631, 410]]],
      ["image.jpg/cardiomediastinum", [[299, 200, 805, 732]]],
      ["image.jpg/ground_glass_opacities", [[47, 38, 428, 665], [668, 185, 898, 560]]],
      ["image.jpg/right_lung", [[37, 21, 437, 678]]],
      ["image.jpg/left_lung", [[516, 0, 905, 751]]],
    ],
  );
  const { findings, ...rest } = examples[2];
  assertEquals(rest, {
    id: "image.jpg/ground_glass_opacities",
    image: "image.jpg",
    task: "ground-mask",
    prompt: "Segment in this image: ground glass opacities.",
    answer: "ground glass opacities.",
    labels: ["ground_glass_opacities"],
    attributes: { crowds: "1" },
  });
  assertEquals(findings?.length, 1);
  const areas = [31478, 171050, 195772, 192542, 169327];
  for (const [index, { findings, labels }] of examples.entries()) {
    const [mask] = findings![0].masks!;
    assertEquals([mask.width, mask.height], [943, 751]);
    assertEquals(mask.data.reduce((sum, value) => sum + value, 0), areas[index]);
    const name = `masks/${labels![0]}.png`;
    using file = await folder.open(name);
    const { raster } = await decodeImage(await file.read(0, file.size), name);
    const drawn = maskOfPicture(raster).data;
    assert(mask.data.every((value, i) => value === drawn[i]));
  }
});

Deno.test("what is compared with an answer are the boxes and runs of the list", async () => {
  const folder = await goldenFolder("pneumocystis");
  const images = folderOf({ "image.jpg": await demo() });
  using file = await folder.open("annotations.coco.json");
  const list = JSON.parse(new TextDecoder().decode(await file.read(0, file.size)));
  const { examples } = await readAllExamples("coco", folder, { images });
  for (const [index, example] of examples.entries()) {
    const { reference, width, height } = await askedOf(example, images, true);
    const { segmentation: { size, counts } } = list.annotations[index];
    const { label, boxes } = example.findings![0];
    assertEquals([height, width], size);
    assertEquals(reference.masks, [{ label, size, counts }]);
    assertEquals(reference.boxes, boxes.map((box) => ({ label, box })));
  }
});

Deno.test("outlines, runs and packed runs of one mask are the same", async () => {
  const forms = [
    [[1, 0, 3, 0, 3, 2, 1, 2]],
    [[1, 0, 2, 0, 2, 2, 1, 2], [2, 0, 3, 0, 3, 2, 2, 2]],
    { size: [3, 4], counts: [3, 2, 1, 2, 4] },
    { size: [3, 4], counts: "32103" },
  ];
  for (const segmentation of forms) {
    const { examples, problems } = await readAllExamples(
      "coco",
      folderWith(listOf([annotation({ segmentation })])),
    );
    assertEquals(problems, []);
    const [{ task, prompt, findings }] = examples;
    assertEquals(task, "ground-mask");
    assertEquals(prompt, "Segment in this image: pleural effusion.");
    assertEquals(findings![0].boxes, [[1, 0, 3, 2]]);
    assertEquals(rowsOf(findings![0].masks![0]), ["0110", "0110", "0000"]);
  }
});

Deno.test("one example per picture and category; boxes alone where a mask is missing", async () => {
  const list = listOf([
    annotation({ bbox: [0, 0, 2, 2], segmentation: [[0, 0, 2, 0, 2, 2, 0, 2]] }),
    annotation({ bbox: [1, 1, 2, 2], segmentation: [], iscrowd: 0 }),
    annotation({ category_id: 2, bbox: [0.5, 0.25, 2, 2] }),
    annotation({ category_id: 3, bbox: [1, 1, 1, 1], segmentation: [[]] }),
    annotation({ category_id: "x", bbox: [0, 0, 1, 1] }),
  ], {
    images: [image, { id: 7, "file_name": "without.png" }],
    categories: [
      category,
      { id: 2, name: "nodule", supercategory: "lesion" },
      { id: 3, name: "nodule", supercategory: "none" },
      { id: "x", name: "mass" },
    ],
  });
  const { examples, problems } = await readAllExamples("coco", folderWith(list), { strict: true });
  assertEquals(problems, []);
  assertEquals(examples.map(({ id, task, category }) => [id, task, category]), [
    ["a.png/pleural_effusion", "ground-box", undefined],
    ["a.png/nodule", "ground-box", "lesion"],
    ["a.png/mass", "ground-box", undefined],
  ]);
  assertEquals(examples[0].prompt, "Where in this image is the following: pleural effusion?");
  assertEquals(examples[0].findings, [{
    label: "pleural_effusion",
    boxes: [[0, 0, 2, 2], [1, 1, 3, 3]],
  }]);
  assertEquals(examples[1].findings![0].boxes, [[0.5, 0.25, 2.5, 2.25], [1, 1, 2, 2]]);
});

Deno.test("parts and pictures of the usual layouts", async () => {
  const list = listOf([annotation({ bbox: [0, 0, 1, 1] })]);
  const read = async (files: Record<string, string>) => {
    const { examples, problems } = await readAllExamples("coco", folderOf(files));
    assertEquals(problems, []);
    return examples.map(({ id, image, split }) => `${split} ${image} ${id}`);
  };
  assertEquals(
    await read({
      "annotations/instances_train2017.json": list,
      "annotations/instances_val2017.json": list,
      "annotations/captions_val2017.json": "{}",
      "train2017/a.png": "",
      "images/val2017/a.png": "",
    }),
    [
      "train train2017/a.png a.png/pleural_effusion",
      "validate images/val2017/a.png a.png/pleural_effusion",
    ],
  );
  assertEquals(
    await read({
      "train/_annotations.coco.json": list,
      "valid/_annotations.coco.json": list,
      "test/_annotations.coco.json": list,
      "train/a.png": "",
      "valid/a.png": "",
      "test/images/a.png": "",
      "README.json": "[]",
    }),
    ["train train/a.png", "validate valid/a.png", "test test/images/a.png"]
      .map((start) => `${start} a.png/pleural_effusion`),
  );
  assertEquals(
    await read({ "first.json": list, "second.json": list, "my_test.json": list, "a.png": "" }),
    [
      "undefined a.png first.json/a.png/pleural_effusion",
      "test a.png a.png/pleural_effusion",
      "undefined a.png second.json/a.png/pleural_effusion",
    ],
  );
});

Deno.test("malformed masks are named and left out, before anything of their size is made", async () => {
  const huge = { id: 2, "file_name": "b.png", width: 1e6, height: 1e6 };
  const odd = { id: 3, "file_name": "c.png", width: 4.5, height: 3 };
  const size = [3, 4];
  const segmentations: [segmentation: unknown, said: string, image?: number][] = [
    [{ size, counts: [3, 10] }, "the runs of a mask cover 13 pixels and its size is 4x3"],
    [{ size, counts: [1e300] }, '"counts" holds something else than whole numbers'],
    [{ size, counts: [13, -1] }, '"counts" holds something else than whole numbers'],
    [{ size, counts: "32" }, "the runs of a mask cover 5 pixels and its size is 4x3"],
    [{ size, counts: "ooooooooooooooo1" }, '"counts" is damaged text'],
    [{ size, counts: "3o" }, '"counts" is damaged text'],
    [{ size, counts: null }, '"counts" is not a list'],
    [{ counts: [12] }, '"size" is not a list'],
    [{ size: [1e9, 1e9], counts: [1e18] }, "a mask has 1000000000x1000000000 pixels"],
    [{ size: [4, 3], counts: [0, 12] }, "a mask has 3x4 pixels and its image 4x3"],
    [{ size, counts: [12] }, '"segmentation" holds no pixel'],
    [[[0, 0, 2, 0, 2, 2, 0]], "outline 1 has 7 coordinates, an odd number"],
    [[[0, 0, 2, 0, 2, 2], [1, 1]], "outline 2 has 1 corners, fewer than 3"],
    [[[0, 0, 2, "x", 2, 2]], "outline 1 is no number"],
    [[[0, 0, 1e308, 0, 2, 2]], "outline 1 has a corner far outside every picture"],
    [[9, 9, 9], "outline 1 is not a list"],
    [[[50, 50, 60, 50, 60, 60]], '"segmentation" holds no pixel'],
    ["0110", '"segmentation" is not an object'],
    [[[0, 0, 2, 0, 2, 2]], "a mask has 1000000x1000000 pixels, more than the 67108864 allowed", 2],
    [[[0, 0, 2, 0, 2, 2]], 'its image has no whole numbers as "width" and "height"', 3],
  ];
  const list = listOf(
    segmentations.map(([segmentation, , id = 1]) =>
      annotation({ segmentation, bbox: [0, 0, 1, 1], image_id: id })
    ),
    { images: [image, huge, odd] },
  );
  const folder = folderOf({ "annotations.json": list, "a.png": "", "b.png": "", "c.png": "" });
  const { examples, problems } = await readAllExamples("coco", folder);
  assertEquals(examples, []);
  assertEquals(problems.length, segmentations.length);
  for (const [index, [, said]] of segmentations.entries()) {
    assertEquals(problems[index].file, "annotations.json");
    assertStringIncludes(problems[index].message, `annotations[${index}]: ${said}`);
  }
});

Deno.test("short outlines that make many runs are cut off at a limit for each picture", async () => {
  // To and fro across 4096 columns: 256 crossings of each.
  const outline = Array.from({ length: 256 }, (_, index) => [index % 2 * 4096, index * 16]).flat();
  const { examples, problems } = await readAllExamples(
    "coco",
    folderWith(listOf(Array(30).fill(annotation({ segmentation: [outline] })), {
      images: [{ ...image, width: 4096, height: 4096 }],
    })),
  );
  const masks = examples[0].findings![0].masks!;
  assertEquals(masks.length + problems.length, 30);
  assert(masks.length > 0 && problems.length > 0);
  const runs = masks.map((mask) => toRuns(mask).counts.length);
  assert(runs.reduce((sum, count) => sum + count, 0) <= 2 ** 22);
  assertStringIncludes(problems.at(-1)!.message, "annotations[29]: it and those before it");
});

Deno.test("malformed records are named by list and index; the others are read", async () => {
  const good = annotation({ bbox: [0, 0, 1, 1] });
  assertEquals(
    await messagesOf(listOf([
      good,
      null,
      { bbox: [0, 0, 1, 1] },
      annotation({ image_id: 9, bbox: [0, 0, 1, 1] }),
      annotation({ category_id: 9, bbox: [0, 0, 1, 1] }),
      annotation({}),
      annotation({ bbox: [0, 0, 0, 1] }),
      annotation({ bbox: [0, 0, 1] }),
      annotation({ bbox: [0, 0, 1, 1], component_boxes: [[0, 0, 1, 1], [0, 0, 1]] }),
    ])),
    [
      "annotations[1]: the record is not an object",
      'annotations[2]: "image_id" is missing',
      "annotations[3]: its image or category is not listed",
      "annotations[4]: its image or category is not listed",
      'annotations[5]: it has neither "bbox" nor "segmentation"',
      'annotations[6]: "bbox" has no area',
      'annotations[7]: "bbox" has 3 numbers instead of 4',
      'annotations[8]: "component_boxes" has 3 numbers instead of 4',
    ],
  );
  assertEquals(
    await messagesOf(listOf([good, { ...good, image_id: 2 }, { ...good, image_id: 3 }], {
      images: [
        image,
        { ...image, id: 2 },
        { id: 3, "file_name": "../a.png" },
        { id: 1, "file_name": "other.png" },
        image,
        { "file_name": "b.png" },
      ],
      categories: [category, { id: 2 }],
    })),
    [
      "images[3]: its id 1 is that of images[0]",
      'images[5]: "id" is missing',
      'categories[1]: "name" is missing',
      'images[1]: "a.png" is listed twice',
      'images[2]: the file name "../a.png" leaves the folder',
    ],
  );
  assertEquals(await messagesOf('{"images": [], "categories": {}, "annotations": []}'), [
    'it has no list "categories"',
  ]);
});

Deno.test("whatever stands in an annotation, it is read or counted", async () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.array(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }))),
    fc.record({
      size: fc.constantFrom([3, 4], [4, 3], [3]),
      counts: fc.oneof(fc.string(), fc.array(fc.integer({ min: -2, max: 12 }))),
    }),
  );
  await fc.assert(fc.asyncProperty(
    fc.record({ "segmentation": value, "bbox": value, "component_boxes": value }, {
      requiredKeys: [],
    }),
    async (fields) => {
      const { examples, problems } = await readAllExamples(
        "coco",
        folderWith(listOf([annotation(fields)])),
      );
      assertEquals(examples.length + problems.length, 1);
    },
  ));
});

Deno.test("a missing picture is a problem once; strict reading stops at it", async () => {
  const list = listOf([annotation({ bbox: [0, 0, 1, 1] })]);
  const folder: FolderSource = folderOf({ "train/_annotations.coco.json": list });
  const { problems } = await readAllExamples("coco", folder);
  assertEquals(problems, [{
    file: "train/_annotations.coco.json",
    message: 'images[0]: there is no file "train/a.png"',
  }]);
  const kept = await readAllExamples("coco", folder, { missingImages: "keep", split: "train" });
  assertEquals(kept.examples.map(({ image }) => image), ["train/a.png"]);
  const reading = datasets.coco.read(folder, { strict: true });
  const error = await assertRejects(() => collect(reading), InputError);
  assertEquals(error.code, "INVALID_RECORD");
  const cut = datasets.coco.read(folderWith(list.slice(0, -9)));
  assertEquals((await assertRejects(() => collect(cut), InputError)).code, "INVALID_JSON");
});
