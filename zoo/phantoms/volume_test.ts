import { assert, assertEquals, assertThrows } from "@std/assert";
import { type VolumePhantom, volumePhantom } from "./volume.ts";
import { maskBox } from "./field.ts";
import { structureNames } from "./volume_labels.ts";
import { organBoxes, organs, sliceExamples, slicePicture, sliceThings } from "./volume_slices.ts";
import { volumeExamples } from "./volume_text.ts";

const phantoms = Array.from(
  { length: 50 },
  (_, seed) => volumePhantom({ size: 40, slices: [1, 5, 16, 24][seed % 4], seed, index: seed }),
);

/** Box of the voxels with a value, upper ends exclusive. */
function boxOf({ size: [nx, ny], instances }: VolumePhantom, value: number): number[] {
  const box = [Infinity, Infinity, Infinity, 0, 0, 0];
  instances.forEach((one, at) => {
    if (one !== value) return;
    const place = [at % nx, Math.floor(at / nx) % ny, Math.floor(at / (nx * ny))];
    place.forEach((c, axis) => {
      box[axis] = Math.min(box[axis], c);
      box[axis + 3] = Math.max(box[axis + 3], c + 1);
    });
  });
  return box;
}

Deno.test("boxes fit the instances, sides and organs those of the labels", () => {
  const kinds = new Set<string>();
  for (const phantom of phantoms) {
    const { findings, instances, labels, size: [nx, ny], affine } = phantom;
    assertEquals(new Set(instances).size, findings.length + 1, phantom.id);
    for (const finding of findings) {
      kinds.add(finding.label);
      assertEquals(boxOf(phantom, finding.value), [...finding.box]);
      let sum = 0, count = 0;
      const inside = new Map<string, number>();
      instances.forEach((value, at) => {
        if (value !== finding.value) return;
        count++;
        const [i, j, k] = [at % nx, Math.floor(at / nx) % ny, Math.floor(at / (nx * ny))];
        sum += affine[0][0] * i + affine[0][1] * j + affine[0][2] * k + affine[0][3];
        const name = structureNames[labels[at]];
        inside.set(name, (inside.get(name) ?? 0) + 1);
      });
      if (finding.side) assertEquals(sum / count > 0 ? "left" : "right", finding.side);
      if (finding.label !== "Pleural effusion") assert(inside.has(finding.structure), phantom.id);
    }
  }
  assertEquals(kinds.size, 4);
});

Deno.test("a volume with many slices shows the organs where they belong, in their densities", () => {
  const { hu, labels, size: [nx, ny], affine, instances } = volumePhantom({
    size: 64,
    slices: 40,
    seed: 5,
    index: 2,
  });
  const mean = (name: string) => {
    const value = structureNames.indexOf(name), total = { hu: 0, x: 0, z: 0, count: 0 };
    labels.forEach((one, at) => {
      if (one !== value || instances[at] !== 0) return;
      total.count++;
      total.hu += hu[at];
      total.x += affine[0][0] * (at % nx) + affine[0][3];
      total.z += affine[2][2] * Math.floor(at / (nx * ny)) + affine[2][3];
    });
    assert(total.count > 20, name);
    return { hu: total.hu / total.count, x: total.x / total.count, z: total.z / total.count };
  };
  const liver = mean("liver"), spleen = mean("spleen"), heart = mean("heart");
  const lung = mean("lung_lower_lobe_left"), upper = mean("lung_upper_lobe_left");
  assert(liver.x < -20 && spleen.x > 40 && heart.x > 0);
  assert(lung.z < upper.z && liver.z < heart.z);
  assert(liver.hu > 60 && liver.hu < 140);
  assert(lung.hu < -600 && mean("vertebrae_T8").hu > 150);
  assert(mean("kidney_left").x > 20 && mean("kidney_right").x < -20);
  assert(mean("rib_left_5").z > mean("rib_left_8").z);
});

Deno.test("the same options give the same voxels; others differ", () => {
  const options = { size: 48, slices: 9, seed: 7, index: 1 };
  const one = volumePhantom(options), same = volumePhantom(options);
  assertEquals(one, same);
  assert(volumePhantom({ ...options, index: 2 }).hu.some((value, at) => value !== one.hu[at]));
  assertEquals(one.hu.length, 48 * 48 * 9);
  assertThrows(() => volumePhantom({ ...options, slices: 65 }), RangeError);
  assertThrows(() => volumePhantom({ ...options, size: 8 }), RangeError);
});

Deno.test("texts about volumes are true, over 50 seeds", () => {
  let yes = 0, no = 0;
  for (const phantom of phantoms) {
    const has = (words: string, side?: string) =>
      phantom.findings.filter(({ label, side: own }) =>
        words.includes(label.toLowerCase()) && (side === undefined || own === side)
      );
    const examples = volumeExamples(phantom);
    assertEquals(volumeExamples(phantom), examples);
    assertEquals(new Set(examples.map(({ id }) => id)).size, examples.length);
    const report = examples[1];
    const pointed = new Set(report.findings!.flatMap(({ boxes3 }) => boxes3!.map(String)));
    assertEquals(pointed, new Set(phantom.findings.map(({ box }) => String(box))));
    for (const { span, boxes3 } of report.findings!) {
      const phrase = report.answer.slice(...span!);
      const target = phantom.findings.find(({ box }) => box === boxes3![0])!;
      const diameter = /(\d+) mm/.exec(phrase)?.[1];
      if (diameter) assertEquals(Number(diameter), target.millimetres);
      const severity = /small|moderate|large/.exec(phrase)?.[0];
      if (severity) assertEquals(severity, target.severity);
    }
    for (
      const [denial] of report.answer.matchAll(
        /(?:There is no|No) (lung|pleural|liver|kidney) \w+/g,
      )
    ) {
      assertEquals(has(denial.toLowerCase()).length, 0, denial);
    }
    for (const { answerType, prompt, answer, category } of examples) {
      if (answerType === "closed") answer === "yes" ? yes++ : no++;
      if (answerType === "closed" && prompt.startsWith("Is there")) {
        const side = /right|left/.exec(prompt)?.[0];
        assertEquals(answer, has(prompt, side).length > 0 ? "yes" : "no");
      }
      if (category === "count") {
        assertEquals(answer, String(has(prompt.replace(/s are there/, "")).length));
      }
    }
  }
  assertEquals(yes, no);
});

Deno.test("slices show what the volume holds: masks, boxes, regions and names agree", () => {
  let regions = 0, masks = 0;
  for (const phantom of phantoms.slice(0, 16)) {
    const { size: [nx, ny, nz], instances, labels, findings } = phantom;
    const slice = Math.floor(nz / 2), start = slice * nx * ny;
    const things = sliceThings(phantom, slice);
    for (const { label, name, mask, box } of things) {
      assertEquals(maskBox(mask), box);
      const allowed = organs[name] ?? findings.filter((one) => one.label === label)
        .map(({ value }) => value);
      const volume = organs[name] ? labels : instances;
      mask.data.forEach((value, at) => {
        if (value === 1) assert(allowed.includes(volume[start + at]), `${phantom.id} ${name}`);
      });
    }
    const seen = new Set(instances.subarray(start, start + nx * ny));
    assertEquals(things.filter(({ name }) => organs[name] === undefined).length, seen.size - 1);
    const examples = sliceExamples(phantom, slice);
    assertEquals(sliceExamples(phantom, slice), examples);
    assertEquals(new Set(examples.map(({ id }) => id)).size, examples.length);
    for (const example of examples) {
      if (example.task === "region-vqa") {
        const region = example.regions![0];
        const same = things.filter(({ name }) => name === example.answer);
        const box = region.kind === "box"
          ? region.box
          : region.kind === "mask" && maskBox(region.mask);
        assert(same.some((thing) => String(thing.box) === String(box)));
        regions++;
      }
      for (const finding of example.findings ?? []) {
        finding.masks!.forEach((mask, i) => assertEquals(maskBox(mask), finding.boxes[i]));
        const words = example.answer.slice(...finding.span!).toLowerCase();
        assert(words.includes(finding.label.toLowerCase()), example.answer);
        masks++;
      }
    }
    const { data } = slicePicture(phantom, slice, { centre: 40, width: 400 });
    phantom.hu.subarray(start, start + nx * ny).forEach((hu, at) => {
      assert(Math.abs(Math.min(255, Math.max(0, (hu + 160) * 255 / 400)) - data[at]) <= 0.5);
    });
  }
  assert(regions > 50 && masks > 50);
  assertThrows(() => slicePicture(phantoms[0], 64), RangeError);
});

Deno.test("boxes of organs are tight", () => {
  const { labels, size: [nx, ny], ...rest } = phantoms[3];
  for (const { name, box } of organBoxes(phantoms[3])) {
    const marked = Uint8Array.from(labels, (value) => organs[name].includes(value) ? 1 : 0);
    assertEquals([...box], boxOf({ ...rest, labels, size: [nx, ny, 24], instances: marked }, 1));
  }
});
