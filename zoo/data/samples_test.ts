/** Every reader on a sample of its dataset: counts and values. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { Example } from "@medvlm/core";
import { emptyRaster, encodePng } from "@medvlm/core/image";
import { datasets } from "./mod.ts";
import { folderOf, goldenFolder, readAllExamples } from "./readers_testing.ts";

const keep = { missingImages: "keep" } as const;

/** How many examples of each value. */
function tally(examples: readonly Example[], value: (example: Example) => string | undefined) {
  const groups = Map.groupBy(examples, value);
  return Object.fromEntries([...groups].map(([key, members]) => [key, members.length]));
}

const byId = (examples: readonly Example[], id: string) => examples.find((one) => one.id === id)!;

Deno.test("every reader says what it reads", () => {
  assertEquals(Object.keys(datasets), Object.keys(datasets).toSorted());
  for (const [name, reader] of Object.entries(datasets)) {
    assertEquals(reader.name, name);
    assert(reader.description !== "" && reader.files !== "");
  }
});

Deno.test("VQA-RAD: 322 and 137 records of 36 pictures", async () => {
  const folder = await goldenFolder("vqa_rad");
  const { examples, problems } = await readAllExamples("vqa_rad", folder, keep);
  assertEquals(problems, []);
  assertEquals(tally(examples, ({ split }) => split), { train: 322, test: 137 });
  assertEquals(tally(examples, ({ answerType }) => answerType), { closed: 262, open: 197 });
  assertEquals(new Set(examples.map(({ image }) => image)).size, 36);
  assertEquals(examples[0], {
    id: "1",
    image: "images/synpic54610.jpg",
    task: "vqa",
    prompt: "Are regions of the brain infarcted?",
    answer: "Yes",
    category: "PRES",
    split: "train",
    answerType: "closed",
    attributes: { organ: "HEAD", phrase: "freeform" },
  });
  // Two answers are whole numbers in the file.
  assert(examples.every(({ answer }) => typeof answer === "string" && answer !== ""));
  const test = await readAllExamples("vqa_rad", folder, { ...keep, split: "test" });
  assertEquals(test.examples.length, 137);
  const present = await readAllExamples("vqa_rad", folder);
  assertEquals(present.examples.length + present.problems.length, 459);
  assertEquals(
    [...new Set(present.examples.map(({ image }) => image))].sort(),
    ["synpic29265", "synpic38069", "synpic51426"].map((name) => `images/${name}.jpg`),
  );
});

Deno.test("SLAKE: both languages, and the boxes of a picture", async () => {
  const { examples, problems } = await readAllExamples("slake", goldenFolder("slake"), keep);
  assertEquals(problems, []);
  assertEquals(tally(examples, ({ split }) => split), { validate: 25, test: 46 });
  assertEquals(tally(examples, ({ attributes }) => attributes?.language), { en: 35, zh: 36 });
  assertEquals(byId(examples, "11974").answer, "T2");
  assertEquals(byId(examples, "11975").answerType, "closed");

  const objects = await readAllExamples("slake_objects", goldenFolder("slake_layout"));
  assertEquals(objects.examples.length, 1);
  const [{ image, findings }] = objects.examples;
  assertEquals(image, "imgs/xmlab1/source.jpg");
  assertEquals(findings?.length, 15);
  assertEquals(findings?.[0], { label: "aorta", boxes: [[94, 47, 110, 62]] });
});

Deno.test("PathVQA: the pickle and the list hold the same questions", async () => {
  const folder = await goldenFolder("path_vqa");
  const pickled = await readAllExamples("path_vqa", folder, keep);
  assertEquals(pickled.problems, []);
  const list = await folder.open("records.json");
  const records = JSON.parse(new TextDecoder().decode(await list.read(0, list.size)));
  list[Symbol.dispose]();
  assertEquals(
    pickled.examples.map(({ prompt, answer }) => [prompt, answer]),
    records.map((record: Record<string, string>) => [record.question, record.answer]),
  );
  assertEquals(pickled.examples[2].image, "images/test/test_0002.jpg");
  assertEquals(pickled.examples[2].answerType, "closed");
  assertEquals(tally(pickled.examples, ({ split }) => split), { test: 60 });
});

Deno.test("VQA-Med 2019: three archives, kinds of question in the test set", async () => {
  const folder = await goldenFolder("vqa_med");
  const { examples, problems } = await readAllExamples("vqa_med", folder, keep);
  assertEquals(problems, []);
  assertEquals(tally(examples, ({ split }) => split), { train: 6, validate: 5, test: 125 });
  const test = examples.filter(({ split }) => split === "test");
  assert(test.every(({ category }) => /^(modality|plane|organ|abnormality)$/.test(category!)));
  assertEquals(examples[1].prompt, "is this a t1 weighted image?");
  assertEquals(examples[1].answerType, "closed");
  // Lines of two pictures that are there.
  const present = await readAllExamples("vqa_med", folder);
  assertEquals(
    new Set(present.examples.map(({ image }) => image)),
    new Set([
      "ImageClef-2019-VQA-Med-Training/Train_images/synpic35685.jpg",
      "VQAMed2019Test/VQAMed2019_Test_Images/synpic48556.jpg",
    ]),
  );
  assertEquals(present.examples.length + present.problems.length, 136);
});

Deno.test("ROCO: captions with their articles", async () => {
  const { examples, problems } = await readAllExamples("roco", goldenFolder("roco"), keep);
  assertEquals([examples.length, problems.length], [60, 0]);
  const { image, answer, labels, attributes } = byId(examples, "ROCO_00153");
  assertEquals(image, "radiology/images/ROCO_00153.jpg");
  assertEquals(
    answer,
    "Distension digestive avec niveaux hydro-aériques coliques et vacuité pelvienne",
  );
  assertEquals(labels?.[0], "colique");
  assertEquals(attributes, { article: "PMC3172625", figure: "pamj-7-9-g001.jpg" });
});

Deno.test("report collections: findings and impression", async () => {
  const normal =
    "The heart is normal in size. The lungs are clear. There is no pleural effusion or pneumothorax. The bony thorax is intact. No acute cardiopulmonary abnormality.";
  const mimic = await readAllExamples("mimic_cxr", goldenFolder("mimic_cxr"), keep);
  assertEquals(mimic.examples.map(({ id }) => id), [1, 2, 3, 4].map((n) => `s5000000${n}`));
  assertEquals(mimic.examples[0].answer, normal);
  assertEquals(mimic.examples[0].attributes, {
    findings: normal.slice(0, normal.indexOf(" No acute")),
    impression: "No acute cardiopulmonary abnormality.",
    indication: "___ year old patient with cough // eval for pneumonia",
    comparison: "___.",
    technique: "Chest PA and lateral",
    examination: "CHEST (PA AND LAT)",
  });
  assertEquals(mimic.examples[3].patient, "p10000004");

  const openi = await readAllExamples("openi", goldenFolder("openi"), keep);
  assertEquals(openi.examples.map(({ id }) => id), ["CXR1", "CXR2", "CXR3"]);
  assertEquals([openi.examples[0].image, openi.examples[0].answer], [
    "CXR1_IM-0001-1001.png",
    normal,
  ]);
  const indiana = await readAllExamples("indiana", goldenFolder("openi"), keep);
  assertEquals(indiana.examples.length, 7);
  assertEquals(indiana.examples[0].answer, normal);
  const list = await readAllExamples("iu_xray", goldenFolder("iu_xray_r2gen"), keep);
  assertEquals(tally(list.examples, ({ split }) => split), { train: 3, validate: 2, test: 2 });
  assertEquals(list.examples[0].answer, normal);
  assertEquals(list.examples[0].moreImages, ["images/CXR1_IM-0001/1.png"]);
  // The same seven invented reports stand in all forms.
  assertEquals(
    list.examples.map(({ answer }) => answer).sort(),
    indiana.examples.map(({ answer }) => answer).sort(),
  );

  const ct = await readAllExamples("ct_rate", goldenFolder("ct_rate"), keep);
  assertEquals(ct.examples.length, 1);
  assertEquals(ct.examples[0].image, "dataset/train/train_1/train_1_a/train_1_a_1.nii.gz");
  assertEquals(ct.examples[0].attributes?.technique, "Contrast-enhanced CT of the abdomen.");
  assert(ct.examples[0].answer.endsWith("No free fluid. Normal CT of the upper abdomen."));
});

Deno.test("MS-CXR: a phrase and its box", async () => {
  const { examples } = await readAllExamples("ms_cxr", goldenFolder("ms_cxr"), keep);
  assertEquals(examples.length, 2);
  const [{ prompt, image, findings, patient }, second] = examples;
  assertEquals([prompt, image], [
    "the cardiac silhouette is enlarged",
    "cxr/nih14/images/00000435_000.png",
  ]);
  assertEquals(findings, [{ label: "Cardiomegaly", span: [0, 34], boxes: [[330, 420, 760, 750]] }]);
  assertEquals(second.findings?.[0].boxes, [[690, 640, 870, 790]]);
  assertEquals(second.patient, patient);
});

Deno.test("MeCoVQA: questions, regions and masks in SA-Med2D-20M", async () => {
  const images = await goldenFolder("sa_med2d_20m");
  const { examples, problems } = await readAllExamples("mecovqa", goldenFolder("mecovqa"), {
    images,
  });
  assertEquals(problems, []);
  assertEquals(tally(examples, ({ task }) => task), {
    "vqa": 6,
    "ground-mask": 13,
    "region-vqa": 13,
  });
  const second = byId(examples, "MeCoVQA_Complex_sample/c4/1");
  assertEquals(second.history, [{
    question: "Which imaging modality is this?",
    answer: "This is a CT image.",
  }]);
  assertEquals(second.prompt, "Which organs are marked?");
  const grounded = byId(examples, "MeCoVQA_Grounding_sample/g0");
  assertEquals(grounded.answer, "Sure, the segmentation result is <SEG>.");
  assertEquals(grounded.findings, [{
    label: "aorta",
    span: [33, 38],
    boxes: [],
    maskFiles: ["masks/ct_00--AMOS2022--amos_0006--z_0090--0001_000.png"],
  }]);
  const region = byId(examples, "MeCoVQA_Region_sample/r2");
  assertEquals(region.prompt, "What is the region <region></region> in this image?");
  assertEquals(region.regions, [{
    kind: "mask-file",
    file: "masks/ct_00--AMOS2022--amos_0006--z_0090--0016_000.png",
  }]);
  for (const [turns, count] of [["first", 29], ["last", 29]] as const) {
    const chosen = await readAllExamples("mecovqa", goldenFolder("mecovqa"), { images, turns });
    assertEquals(chosen.examples.length, count);
    const complex = chosen.examples.filter(({ category }) => category === "Complex");
    assertEquals(
      complex.map(({ history }) => history?.length ?? 0),
      turns === "first" ? [0, 0, 0] : [1, 1, 1],
    );
  }
});

Deno.test("OmniMedVQA: two and four choices", async () => {
  const { examples } = await readAllExamples("omnimedvqa", goldenFolder("omnimedvqa"), {
    images: await goldenFolder("sa_med2d_20m"),
  });
  assertEquals(examples.map(({ choices }) => choices!.length), [4, 2, 4, 2, 4, 2]);
  assertEquals(examples.map(({ answer }) => answer), ["CT", "Yes", "CT", "Yes", "CT", "No"]);
  assertEquals(examples[0].image, "images/ct_00--AMOS2022--amos_0006--z_0090.png");
});

Deno.test("mask collections: the same masks under both ways of naming", async () => {
  const named = await readAllExamples("sa_med2d_20m", goldenFolder("sa_med2d_20m"));
  assertEquals(named.problems, []);
  assertEquals(named.examples.map(({ findings }) => findings!.length), [4, 3, 15]);
  assertEquals(named.examples[0].findings?.map(({ label }) => label), [
    "aorta",
    "inferior_vena_cava",
    "liver",
    "spleen",
  ]);
  assertEquals(named.examples[2].attributes, {
    modality: "ct",
    view: "ct_00",
    dataset: "Totalsegmentator_dataset",
    slice: "z_0111",
  });
  const plain = await readAllExamples("sam_med2d", goldenFolder("sam_med2d"), keep);
  assertEquals(tally(plain.examples, ({ split }) => split), { train: 3, test: 22 });
  const labels = (examples: Example[]) =>
    examples.map(({ findings }) => findings!.map(({ label }) => label));
  assertEquals(
    labels(plain.examples.filter(({ split }) => split === "train")),
    labels(named.examples),
  );
});

Deno.test("NIH ChestX-ray14: 984 boxes, labels of eight pictures", async () => {
  const folder = await goldenFolder("nih14");
  const boxes = await readAllExamples("nih14_boxes", folder, keep);
  assertEquals(boxes.problems, []);
  const findings = boxes.examples.flatMap((example) => example.findings!);
  assertEquals(findings.length, 984);
  assertEquals(
    Object.fromEntries(
      [...Map.groupBy(findings, ({ label }) => label)].map(([label, all]) => [label, all.length]),
    ),
    {
      Atelectasis: 180,
      Cardiomegaly: 146,
      Effusion: 153,
      Infiltrate: 123,
      Mass: 85,
      Nodule: 79,
      Pneumonia: 120,
      Pneumothorax: 98,
    },
  );
  // The list speaks of 1024 pixels: as it is where the picture is missing, scaled where it is a thumbnail of 64.
  assertEquals(byId(boxes.examples, "00013118_008.png").findings![0].boxes[0].slice(0, 2), [
    225.084745762712,
    547.019216763771,
  ]);
  const scaled = [339.166137566138, 119.195767195767, 172.292063492064, 351.085714285714]
    .map((side) => side / 16);
  const [x0, y0, x1, y1] = byId(boxes.examples, "00000032_037.png").findings![0].boxes[0];
  for (const [index, side] of [x0, y0, x1 - x0, y1 - y0].entries()) {
    assertAlmostEquals(side, scaled[index], 1e-9);
  }
  const present = await readAllExamples("nih14_boxes", folder);
  assertEquals([present.examples.length, present.problems.length], [6, 874]);

  const labels = await readAllExamples("nih14", folder, keep);
  assertEquals(labels.examples.length, 8);
  assertEquals(labels.examples[0].labels, ["Consolidation", "Effusion", "Infiltration", "Nodule"]);
  assertEquals(labels.examples[0].patient, "00000061");
});

Deno.test("NIH thumbnails: boxes in pixels of the pictures that are there", async () => {
  const folder = await goldenFolder("nih64_boxes");
  const images = await goldenFolder("nih14");
  const { examples, problems } = await readAllExamples("nih14_boxes", folder, { images });
  assertEquals([examples.length, problems.length], [6, 0]);
  using file = await folder.open("boxes.json");
  const { boxes } = JSON.parse(new TextDecoder().decode(await file.read(0, file.size)));
  for (const [index, { image, label, box_64_xywh: wanted }] of boxes.entries()) {
    const { id, findings, split, patient } = examples[index];
    assertEquals([id, findings![0].label, split, patient], [
      image,
      label,
      "test",
      image.slice(0, 8),
    ]);
    const [x0, y0, x1, y1] = findings![0].boxes[0];
    for (const [side, value] of [x0, y0, x1 - x0, y1 - y0].entries()) {
      assertAlmostEquals(value, wanted[side], 1e-3);
    }
  }
  const kept = await readAllExamples("nih14_boxes", folder, keep);
  assertEquals(kept.examples[0].findings![0].boxes[0][0], 339.166137566138);
});

Deno.test("NIH boxes on a picture without a size are left out and named", async () => {
  const record = { image: "a.png", label: "Mass", "box_1024_xywh": [0, 512, 1024, 256] };
  const files = {
    "boxes.json": JSON.stringify({ boxes: [record, { ...record, "box_1024_xywh": [1, 2] }] }),
    "images/a.png": new Uint8Array(encodePng(emptyRaster(30, 20, 1))),
  };
  const { examples, problems } = await readAllExamples("nih14_boxes", folderOf(files));
  assertEquals(examples[0].findings, [{ label: "Mass", boxes: [[0, 10, 30, 15]] }]);
  assertEquals(problems, [{
    file: "boxes.json",
    message: 'boxes[1]: "box_1024_xywh" has 2 numbers instead of 4',
  }]);
  const broken = await readAllExamples(
    "nih14_boxes",
    folderOf({ ...files, "images/a.png": "no picture" }),
  );
  assertEquals(broken.examples, []);
  assert(broken.problems[1].message.startsWith("its boxes have no scale: Cannot read the size"));
});

Deno.test("ChestX-Det: boxes with outlines", async () => {
  const { examples, problems } = await readAllExamples(
    "chestx_det",
    goldenFolder("chestx_det"),
    keep,
  );
  assertEquals([examples.length, problems.length], [40, 0]);
  assertEquals(examples.filter(({ labels }) => labels![0] === "No finding").length, 4);
  const { findings } = byId(examples, "36302.png");
  assertEquals(findings?.map(({ label, boxes }) => [label, boxes]), [[
    "Effusion",
    [[799, 666, 937, 761]],
  ]]);
  assertEquals(findings?.[0].polygons?.[0][0], [799, 678]);
});
