import { assert, assertEquals } from "@std/assert";
import { gunzipSync } from "fflate";
import { structureNames } from "../volume_labels.ts";
import { shownStructures } from "../volume_text.ts";
import { written } from "./formats_testing.ts";

/** What a NIfTI-1 file says, by its header alone. */
function parse(gzipped: Uint8Array) {
  const file = gunzipSync(gzipped), view = new DataView(file.buffer, file.byteOffset);
  assertEquals([gzipped[0], gzipped[1]], [0x1f, 0x8b]);
  // No time stamp.
  assertEquals([...gzipped.subarray(4, 8)], [0, 0, 0, 0]);
  assertEquals(view.getInt32(0, true), 348);
  assertEquals(new TextDecoder().decode(file.subarray(344, 348)), "n+1\0");
  const dims = Array.from({ length: 8 }, (_, i) => view.getInt16(40 + 2 * i, true));
  const type = view.getInt16(70, true), start = view.getFloat32(108, true);
  const count = dims[1] * dims[2] * dims[3], bytes = type === 4 ? 2 : 1;
  assertEquals([dims[0], view.getInt16(72, true)], [3, 8 * bytes]);
  assertEquals(file.length, start + bytes * count);
  const data = Int16Array.from(
    { length: count },
    (_, i) => bytes === 2 ? view.getInt16(start + 2 * i, true) : file[start + i],
  );
  const spacing = [80, 84, 88].map((at) => view.getFloat32(at, true));
  const rows = [280, 296, 312].map((at) =>
    [0, 4, 8, 12].map((offset) => view.getFloat32(at + offset, true))
  );
  const [b, c, d] = [256, 260, 264].map((at) => view.getFloat32(at, true));
  const offset = [268, 272, 276].map((at) => view.getFloat32(at, true));
  return { size: dims.slice(1, 4), type, data, spacing, rows, quaternion: [b, c, d], offset };
}

/** Compares thousands of values faster than value by value with a message each. */
function assertSame(one: ArrayLike<number>, other: ArrayLike<number>, what: string) {
  assertEquals(one.length, other.length, what);
  for (let i = 0; i < one.length; i++) {
    if (one[i] !== other[i]) throw new Error(`${what}: ${one[i]} and ${other[i]} at ${i}`);
  }
}

const near = (one: number, other: number) => Math.abs(one - other) < 1e-4 * (1 + Math.abs(other));

Deno.test("CT-RATE: reports, labels, patients, parts and voxels", async () => {
  const set = await written("ct-rate", { count: 8, slices: 5 }), examples = await set.read();
  assertEquals(examples.length, 8);
  for (const [i, example] of examples.entries()) {
    const { volume, findings, impression, split } = set.cases[i];
    assertEquals(example.answer, `${findings} ${impression}`);
    assertEquals(example.attributes!.findings, findings);
    assertEquals(new Set(example.labels), new Set(volume!.findings.map(({ label }) => label)));
    assertEquals(example.split, split);
    assertEquals(example.patient, `${split === "train" ? "train" : "valid"}_${i + 1}`);
    const file = parse(await set.bytes(example.image));
    assertEquals(file.size, [...volume!.size]);
    assertSame(file.data, volume!.hu, example.image);
    assertEquals(file.type, 4);
  }
  assertEquals([...new Set(examples.map(({ split }) => split))], ["train", "validate"]);
});

Deno.test("NIfTI: both forms of the directions agree with the phantom's", async () => {
  const set = await written("ct-rate", { count: 1, slices: 3 }), [{ image }] = await set.read();
  const { rows, quaternion, offset, spacing } = parse(await set.bytes(image));
  const { affine, spacing: truth } = set.cases[0].volume!;
  // NIfTI counts to the right and to the back where DICOM counts to the left and to the front.
  const sign = [-1, -1, 1];
  rows.forEach((row, axis) =>
    row.forEach((value, i) => assert(near(value, sign[axis] * affine[axis][i])))
  );
  spacing.forEach((value, i) => assert(near(value, truth[i])));
  // The rotation of the quaternion, times the spacing, is the same matrix.
  const [b, c, d] = quaternion, a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  const rotation = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
  ];
  rotation.forEach((row, axis) => {
    row.forEach((value, i) => assert(near(value * spacing[i], rows[axis][i])));
    assert(near(offset[axis], rows[axis][3]));
  });
});

Deno.test("TotalSegmentator: a mask per structure and per kind of finding", async () => {
  const set = await written("totalsegmentator", { count: 6, slices: 16, size: 32 });
  const examples = await set.read();
  assertEquals(examples.length, 6);
  let found = 0;
  for (const [i, { image, findings, split, patient, attributes }] of examples.entries()) {
    const one = set.cases[i], volume = one.volume!;
    assertEquals([split, patient], [one.split, `s${String(i).padStart(4, "0")}`]);
    assertEquals([attributes!.age, attributes!.gender], [String(one.age), one.sex.toLowerCase()]);
    assertSame(parse(await set.bytes(image)).data, volume.hu, image);
    const kinds = new Set(
      volume.findings.map(({ label }) => label.toLowerCase().replaceAll(" ", "_")),
    );
    assertEquals(
      new Set(findings!.map(({ label }) => label)),
      new Set([...shownStructures(volume), ...kinds]),
    );
    for (const { label, maskFiles } of findings!) {
      const { data, type } = parse(await set.bytes(maskFiles![0]));
      const value = structureNames.indexOf(label);
      const truth = value > 0
        ? volume.labels.map((one) => one === value ? 1 : 0)
        : volume.instances.map((one) => {
          const name = volume.findings.find((finding) => finding.value === one)?.label ?? "";
          return name.toLowerCase().replaceAll(" ", "_") === label ? 1 : 0;
        });
      assertSame(data, truth, label);
      assertEquals(type, 2);
      if (value < 0) found++;
    }
  }
  assert(found > 3);
});
