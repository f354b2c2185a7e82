import { assertEquals, assertThrows } from "@std/assert";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { maskOverlap } from "./mask_overlap.ts";
import { tensor } from "./tensor.ts";

function reference(logits: ArrayLike<number>, targets: ArrayLike<number>, length: number) {
  return Array.from({ length: logits.length / length }, (_, row) => {
    const inside = (values: ArrayLike<number>, limit: number) =>
      new Set(
        Array.from({ length }, (_, i) => i).filter((i) => values[row * length + i]! > limit),
      );
    const a = inside(logits, 0), b = inside(targets, 0.5);
    return a.union(b).size === 0 ? 1 : a.intersection(b).size / a.union(b).size;
  });
}

deviceTest("overlap of masks with their targets", async (device) => {
  for (const { name, device: variant } of variants(device)) {
    for (const [masks, height, width] of [[1, 1, 1], [3, 5, 7], [2, 37, 29], [5, 64, 64]]) {
      using _scope = variant.scope();
      const length = height! * width!, count = masks! * length;
      const logits = normals(count, 5);
      const targets = normals(count, 6).map((x) => x > 0.3 ? 1 : 0);
      const shape = [masks!, height!, width!];
      const overlap = maskOverlap(tensor(variant, logits, shape), tensor(variant, targets, shape));
      assertEquals(overlap.shape, [masks]);
      assertCloseTo(await overlap.readFloats(), reference(logits, targets, length), {
        what: `${name} ${shape}`,
      });
    }
  }
});

deviceTest("empty masks agree, and other shapes are refused", async (device) => {
  using _scope = device.scope();
  const logits = tensor(device, [-1, -2, -3, 4], [2, 2]),
    none = tensor(device, [0, 0, 0, 0], [2, 2]);
  assertEquals([...await maskOverlap(logits, none).read()], [1, 0]);
  assertEquals(maskOverlap(tensor(device, [], [0, 4]), tensor(device, [], [0, 4])).shape, [0]);
  assertThrows(() => maskOverlap(logits, none.reshape(4)), RangeError, "expected f32 of one shape");
});
