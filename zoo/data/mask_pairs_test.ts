/** Pictures with a mask each: the sample, ways of naming, and what has no counterpart. */
import { assertEquals, assertRejects } from "@std/assert";
import { type FolderSource, InputError } from "@medvlm/core";
import { pictureOf } from "../eval/asking.ts";
import { maskOfPicture } from "../run_inputs.ts";
import { datasets } from "./mod.ts";
import { collect, folderOf, goldenFolder, readAllExamples } from "./readers_testing.ts";

const named = (name: string, files: string[]): FolderSource => ({
  ...folderOf(Object.fromEntries(files.map((file) => [file, ""]))),
  name,
});

async function pairsOf(folder: FolderSource) {
  const { examples, problems } = await readAllExamples("mask_pairs", folder);
  return {
    pairs: examples.map(({ image, findings, split }) =>
      [image, findings![0].maskFiles![0], findings![0].label, ...(split ? [split] : [])].join(" ")
    ),
    problems: problems.map(({ file, message }) => `${file}: ${message}`),
  };
}

Deno.test("Montgomery County: three films, both lungs in a mask of their size", async () => {
  const folder = await goldenFolder("montgomery_lungs");
  const { examples, problems } = await readAllExamples("mask_pairs", folder, { strict: true });
  assertEquals(problems, []);
  assertEquals(examples[0], {
    id: "1.jpg",
    image: "1.jpg",
    task: "ground-mask",
    prompt: "Segment in this image: montgomery lungs.",
    answer: "montgomery lungs.",
    findings: [{ label: "montgomery_lungs", boxes: [], maskFiles: ["1-mask.png"] }],
  });
  const areas: number[] = [];
  for (const { image, findings } of examples) {
    const picture = await pictureOf(folder, image);
    const mask = maskOfPicture(await pictureOf(folder, findings![0].maskFiles![0]));
    for (const { width, height } of [picture, mask]) assertEquals([width, height], [512, 512]);
    areas.push(mask.data.reduce((sum, value) => sum + value, 0));
  }
  assertEquals(areas, [74013, 93159, 48006]);
});

Deno.test("every way of naming, parts and names from folders", async () => {
  const beside = ["1.jpg", "1-mask.png", "2.PNG", "2_mask.png", "3.jpeg", "masks/3.png"];
  assertEquals(await pairsOf(named("some/where/lungs/", beside)), {
    pairs: ["1.jpg 1-mask.png lungs", "2.PNG 2_mask.png lungs", "3.jpeg masks/3.png lungs"],
    problems: [],
  });
  for (const name of [".", "", "/data", "images"]) {
    const { pairs } = await pairsOf(named(name, ["a.png", "a_mask.png"]));
    assertEquals(pairs, ["a.png a_mask.png mask"]);
  }
  const apart = [
    "images/1.png",
    "masks/1_mask.png",
    "train/liver/images/2.png",
    "train/liver/masks/2.png",
    "test_set/spleen/3.png",
    "test_set/spleen/masks/3.png",
    "val/images/4.png",
    "val/masks/4.png",
    "images/train/5.png",
    "masks/train/5.png",
    "._6.png",
    "LICENSE",
    "notes/about.txt",
  ];
  assertEquals(await pairsOf(named("polyps", apart)), {
    pairs: [
      "images/1.png masks/1_mask.png polyps",
      "images/train/5.png masks/train/5.png polyps train",
      "test_set/spleen/3.png test_set/spleen/masks/3.png spleen test",
      "train/liver/images/2.png train/liver/masks/2.png liver train",
      "val/images/4.png val/masks/4.png polyps validate",
    ],
    problems: [],
  });
  const { examples } = await readAllExamples("mask_pairs", named("p", apart), { split: "test" });
  assertEquals(examples.map(({ image }) => image), ["test_set/spleen/3.png"]);
});

Deno.test("pictures without mask and masks without picture are named", async () => {
  const folder = named("lungs", [
    "1.jpg",
    "1.png",
    "1_mask.png",
    "2.jpg",
    "3-mask.png",
    "masks/4.png",
    "other/5.jpg",
  ]);
  assertEquals(await pairsOf(folder), {
    pairs: ["1.jpg 1_mask.png lungs"],
    problems: [
      '1.png: "1" is there twice',
      "2.jpg: it has no mask",
      "masks/4.png: it has no picture",
      "3-mask.png: it has no picture",
    ],
  });
  const strict = datasets.mask_pairs.read(folder, { strict: true });
  assertEquals((await assertRejects(() => collect(strict), InputError)).code, "INVALID_RECORD");
  const none = datasets.mask_pairs.read(named("a", ["1.jpg", "x/2.png", "3-mask.png"]));
  assertEquals((await assertRejects(() => collect(none), InputError)).code, "NOT_FOUND");
});
