import { assert, assertEquals } from "@std/assert";
import { memoryFolder } from "@medvlm/core/checkpoint";
import { datasets, VINDR_GLOBAL_LABELS } from "../../data/mod.ts";
import { globalLabels, localLabels } from "../chest_text.ts";
import { ofLabel } from "../chest_report.ts";
import { checkPictures, written } from "./formats_testing.ts";
import { groundedPhrases, indianaProblems } from "./radiographs.ts";
import { mimicNames } from "./vindr.ts";

Deno.test("VinDr-CXR: boxes, diagnoses and parts are those of the phantoms", async () => {
  const set = await written("vindr", { count: 20 }), examples = await set.read();
  assertEquals(examples.length, 2 * set.cases.length);
  for (const { id, chest, split } of set.cases) {
    const local = examples.find((one) => one.id === `${id}/local`)!;
    const global = examples.find((one) => one.id === `${id}/global`)!;
    assertEquals([local.split, global.split], [split, split]);
    assertEquals(local.image, `${split}/${id}.dicom`);
    const labels = localLabels(chest!);
    assertEquals(new Set(local.labels), new Set(labels.length > 0 ? labels : ["No finding"]));
    for (const { label, boxes } of local.findings!) {
      const truth = ofLabel(chest!, label as typeof labels[number]);
      assertEquals(boxes.map(String), truth.map(({ box }) => String(box)));
    }
    const diagnoses = new Set(globalLabels(chest!));
    assertEquals(global.labels, VINDR_GLOBAL_LABELS.filter((label) => diagnoses.has(label)));
    assertEquals(global.attributes!.readers, split === "train" ? "3" : "1");
    assertEquals(global.attributes!.conflict, undefined);
  }
  assertEquals([...new Set(set.cases.map(({ split }) => split))], ["train", "test"]);
});

/** The elements of a DICOM file in explicit VR little endian, by tag. */
function elements(file: Uint8Array): Map<number, Uint8Array> {
  const view = new DataView(file.buffer, file.byteOffset), found = new Map<number, Uint8Array>();
  assertEquals(new TextDecoder().decode(file.subarray(128, 132)), "DICM");
  let last = 0;
  for (let at = 132; at < file.length;) {
    const tag = view.getUint16(at, true) * 2 ** 16 + view.getUint16(at + 2, true);
    assert(tag > last, "tags rise");
    last = tag;
    const long = ["OB", "OW"].includes(new TextDecoder().decode(file.subarray(at + 4, at + 6)));
    const length = long ? view.getUint32(at + 8, true) : view.getUint16(at + 6, true);
    assertEquals(length % 2, 0);
    at += long ? 12 : 8;
    found.set(tag, file.subarray(at, at + length));
    at += length;
  }
  return found;
}

Deno.test("VinDr-CXR: the DICOM files hold picture, window and patient", async () => {
  const { cases, bytes } = await written("vindr", { count: 8 });
  const kinds = new Set<string>(), identifiers = new Set<string>();
  for (const { id, split, chest } of cases) {
    const file = await bytes(`${split}/${id}.dicom`), found = elements(file);
    const text = (tag: number) => new TextDecoder().decode(found.get(tag)).replace(/[\0 ]+$/, "");
    const number = (tag: number) => found.get(tag)![0] + 256 * found.get(tag)![1];
    assertEquals(text(0x00020010), "1.2.840.10008.1.2.1");
    assertEquals(text(0x00080018), text(0x00020003));
    assert(/^2\.25\.\d{30,39}$/.test(text(0x00080018)));
    for (const tag of [0x00080018, 0x0020000d, 0x0020000e]) identifiers.add(text(tag));
    assertEquals([text(0x00100020), text(0x00100040)], [id, chest!.sex]);
    assertEquals(parseInt(text(0x00101010)), chest!.age);
    assertEquals([number(0x00280010), number(0x00280011)], [40, 40]);
    assertEquals([0x00280100, 0x00280101, 0x00280102, 0x00280103].map(number), [16, 14, 13, 0]);
    const white = text(0x00280004);
    kinds.add(white);
    const centre = Number(text(0x00281050)), width = Number(text(0x00281051));
    const pixels = found.get(0x7fe00010)!;
    chest!.raw.forEach((value, i) => {
      const stored = pixels[2 * i] + 256 * pixels[2 * i + 1];
      const share = (stored - (centre - width / 2)) / width;
      const seen = white === "MONOCHROME1" ? 1 - share : share;
      assert(Math.abs(4095 * seen - value) < 1e-6);
    });
  }
  assertEquals(kinds, new Set(["MONOCHROME1", "MONOCHROME2"]));
  assertEquals(identifiers.size, 3 * cases.length);
});

Deno.test("MIMIC-CXR: reports, patients and parts", async () => {
  const set = await written("mimic-cxr"), examples = await set.read();
  await checkPictures(set, examples);
  assertEquals(examples.length, set.cases.length);
  for (const [i, example] of examples.entries()) {
    const one = set.cases[i], names = mimicNames(one);
    assertEquals(example.answer, `${one.findings} ${one.impression}`);
    assertEquals(example.attributes!.findings, one.findings);
    assertEquals(example.attributes!.impression, one.impression);
    assertEquals([example.patient, example.id], [names.patient, names.study]);
    assertEquals([example.split, example.moreImages], [one.split, undefined]);
    assertEquals(example.image, `${names.folder}/${names.picture}.jpg`);
  }
});

Deno.test("MS-CXR: phrases with their boxes, from either file", async () => {
  const set = await written("ms-cxr", { count: 20 }), examples = await set.read();
  await checkPictures(set, examples);
  const truth = set.cases.flatMap((one) =>
    groundedPhrases(one).map(({ text, category, box }) => [
      text,
      category,
      String(box),
      mimicNames(one).patient,
      one.split,
    ])
  );
  const seen = (all: typeof examples) =>
    all.map(({ prompt, category, findings, patient, split }) => [
      prompt,
      category,
      String(findings![0].boxes[0]),
      patient,
      split,
    ]);
  assertEquals(seen(examples), truth);
  assert(truth.length > 20);
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const csv = "MS_CXR_Local_Alignment_v1.1.0.csv";
  files.set(csv, await set.bytes(csv));
  const table = datasets.ms_cxr.read(memoryFolder("csv", files), { missingImages: "keep" });
  const rows: typeof examples = [];
  for await (const example of table) rows.push(example);
  assertEquals(seen(rows), truth);
});

Deno.test("Indiana University's collection in three forms", async () => {
  for (const name of ["iu-xray", "openi", "indiana"]) {
    const set = await written(name), examples = await set.read();
    await checkPictures(set, examples);
    assertEquals(
      examples.map(({ answer, split }) => [answer, split]),
      set.cases.map(({ findings, impression, split }) => [`${findings} ${impression}`, split]),
      name,
    );
    if (name === "iu-xray") continue;
    assertEquals(examples.map(({ labels }) => labels), set.cases.map(indianaProblems));
    assertEquals(
      examples.map(({ attributes }) => [attributes!.findings, attributes!.impression]),
      set.cases.map(({ findings, impression }) => [findings, impression]),
    );
  }
});
