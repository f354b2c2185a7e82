import { assertAlmostEquals, assertEquals } from "@std/assert";
import { raster } from "@medvlm/core/image";
import { clipVision, initialParameters } from "@medvlm/core/nn";
import { tensor } from "@medvlm/core/tensor";
import { assertCloseTo, deviceTest, normals } from "../../core/kernels/kernel_testing.ts";
import { inContextConfig } from "./icl_testing.ts";
import { medplibParameters, names } from "./params.ts";
import {
  collectCandidates,
  nearestRows,
  queryImage,
  retrievalFeatures,
  retrievalInput,
  targetMask,
} from "./retrieval.ts";

function unit(row: ArrayLike<number>): number[] {
  const length = Math.hypot(...Array.from(row));
  return Array.from(row, (value) => value / length);
}

deviceTest(
  "a picture's direction is the mean of its patches after the last block",
  async (device) => {
    const { clip } = inContextConfig;
    const p = await initialParameters(device, medplibParameters(inContextConfig), 6);
    const pixels = tensor(device, normals(2 * 3 * 42 * 42, 1), [2, 3, 42, 42]);
    const hidden = await clipVision(p.at(names.clip), pixels, clip).readFloats();
    const rows = 10, width = clip.hiddenSize;
    const expected = [0, 1].flatMap((b) =>
      unit(Array.from({ length: width }, (_, c) => {
        let sum = 0;
        // Row 0 is the class token.
        for (let r = 1; r < rows; r++) sum += hidden[(b * rows + r) * width + c]! / (rows - 1);
        return sum;
      }))
    );
    const features = retrievalFeatures(p, pixels, inContextConfig);
    assertEquals(features.shape, [2, width]);
    assertCloseTo(await features.readFloats(), expected, { atol: 1e-5, rtol: 1e-4 });
    p.dispose();
  },
);

for (const [queries, candidates, width, count] of [[3, 13, 7, 5], [1, 2, 1, 4], [2, 1, 5, 3]]) {
  deviceTest(`the nearest ${count} of ${candidates} candidates`, async (device) => {
    const q = normals(queries! * width!, 3), c = normals(candidates! * width!, 4);
    const found = await nearestRows(
      tensor(device, q, [queries!, width!]),
      tensor(device, c, [candidates!, width!]),
      count!,
    );
    assertEquals(found.length, queries);
    found.forEach((row, i) => {
      const own = unit(q.subarray(i * width!, (i + 1) * width!));
      const scores = Array.from(
        { length: candidates! },
        (_, n) =>
          unit(c.subarray(n * width!, (n + 1) * width!))
            .reduce((sum, value, k) => sum + value * own[k]!, 0),
      );
      const best = scores.slice().sort((a, b) => b - a).slice(0, count);
      assertEquals(row.length, Math.min(count!, candidates!));
      row.forEach(({ index, score }, k) => {
        assertAlmostEquals(score, scores[index]!, 1e-5);
        assertAlmostEquals(score, best[k]!, 1e-5);
      });
    });
  });
}

deviceTest(
  "of equally near candidates the earlier comes first; none is found in none",
  async (device) => {
    const one = tensor(device, [3, 4], [1, 2]);
    const same = tensor(device, [0, 1, 6, 8, 6, 8], [3, 2]);
    const [row] = await nearestRows(one, same, 3);
    assertEquals(row!.map(({ index }) => index), [1, 2, 0]);
    assertEquals(await nearestRows(one, tensor(device, [], [0, 2]), 3), [[]]);
  },
);

Deno.test("for retrieval the shorter side fills the input and the middle is kept", () => {
  // Dark at both ends, bright in the middle.
  const image = raster(
    12,
    4,
    1,
    Uint8Array.from({ length: 48 }, (_, i) => i % 12 < 4 || i % 12 >= 8 ? 0 : 255),
  );
  const input = retrievalInput(image, 4);
  assertEquals(input.length, 3 * 16);
  for (const value of input.subarray(0, 16)) {
    assertAlmostEquals(value, (1 - 0.48145466) / 0.26862954, 1e-5);
  }
  assertEquals(retrievalInput(raster(5, 7, 1, new Uint8Array(35)), 3).length, 27);
});

Deno.test("candidates are what is asked about, the examples, and the numbered pairs", () => {
  const pair = (image: string, mask: string) => ({ image, mask });
  assertEquals(
    collectCandidates([
      { image: "q", mask3: "t", examples: [pair("a", "b"), { image: "lost" }] },
      { image10: "x10", mask10: "y10", image2: "x2", mask2: "y2" },
      { image: "z", conversations: [{ value: 3 }, { value: "<SEG><mask>m</mask>" }] },
      { image: "no mask", conversations: [] },
      { image3: "x3", mask3: "y3" },
    ]),
    [
      pair("q", "t"),
      pair("a", "b"),
      pair("x2", "y2"),
      pair("x10", "y10"),
      pair("z", "m"),
      pair("x3", "y3"),
      pair("x3", "y3"),
    ],
  );
  assertEquals(queryImage({ image2: "b", image10: "c" }), "c");
  assertEquals(queryImage({ picture: "b" }), undefined);
  assertEquals(targetMask({ target_mask: "a", mask: "b" }), "a");
});
