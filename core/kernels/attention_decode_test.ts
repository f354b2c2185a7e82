import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { decodeAttention } from "../tensor/decode_attention.ts";
import { tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { pretending, variants } from "./variant_testing.ts";

/** One query per head over the first `length` rows, in float64. */
function reference(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  length: number,
  { heads, keyHeads, headSize }: { heads: number; keyHeads: number; headSize: number },
): Float64Array {
  const output = new Float64Array(heads * headSize);
  const stride = keyHeads * headSize;
  for (let h = 0; h < heads && length > 0; h++) {
    const base = Math.floor(h / (heads / keyHeads)) * headSize;
    const scores = Array.from({ length }, (_, j) => {
      let sum = 0;
      for (let d = 0; d < headSize; d++) sum += q[h * headSize + d]! * k[j * stride + base + d]!;
      return sum / Math.sqrt(headSize);
    });
    const highest = Math.max(...scores);
    const total = scores.reduce((sum, score) => sum + Math.exp(score - highest), 0);
    scores.forEach((score, j) => {
      const weight = Math.exp(score - highest) / total;
      for (let d = 0; d < headSize; d++) {
        output[h * headSize + d]! += weight * v[j * stride + base + d]!;
      }
    });
  }
  return output;
}

const shapes = [
  // heads, keyHeads, headSize, capacity, lengths
  [1, 1, 1, 1, [1]],
  [3, 3, 5, 7, [1, 6, 7]],
  [2, 1, 24, 64, [1, 63, 64]],
  [4, 2, 64, 130, [1, 64, 65, 127, 130]],
  [2, 2, 80, 300, [255, 256, 257, 300]],
  [3, 1, 128, 200, [0, 3, 199, 1000]],
  [8, 2, 72, 129, [128, 129]],
] as const;

async function check(device: Device): Promise<void> {
  for (const [heads, keyHeads, headSize, capacity, lengths] of shapes) {
    const shape = { heads, keyHeads, headSize };
    const q = normals(heads * headSize, 1);
    const k = normals(capacity * keyHeads * headSize, 2).map((x) => 3 * x);
    const v = normals(capacity * keyHeads * headSize, 3);
    for (const length of lengths) {
      using scope = device.scope();
      const columns = keyHeads * headSize;
      const output = await scope.keep(decodeAttention(
        tensor(device, q),
        tensor(device, k, [capacity, columns]),
        tensor(device, v, [capacity, columns]),
        tensor(device, Uint32Array.of(length)),
        shape,
      )).readFloats();
      assertCloseTo(output, reference(q, k, v, Math.min(length, capacity), shape), {
        what: `${JSON.stringify(shape)} at ${length} of ${capacity}`,
      });
    }
  }
}

deviceTest("decode attention equals its float64 definition in every variant", async (device) => {
  for (const variant of variants(device)) await check(variant.device);
});

deviceTest(
  "decode attention reads caches that exceed a binding in pieces",
  (device) => check(pretending(device, { bindingBytes: 65536 })),
);

deviceTest("decode attention follows the length and allocates nothing", async (device) => {
  const shape = { heads: 2, keyHeads: 2, headSize: 16 };
  const capacity = 150;
  const q = normals(32, 1), k = normals(capacity * 32, 2), v = normals(capacity * 32, 3);
  const length = tensor(device, Uint32Array.of(1));
  const inputs = [
    tensor(device, q),
    tensor(device, k, [capacity, 32]),
    tensor(device, v, [capacity, 32]),
  ] as const;
  let output!: ReturnType<typeof decodeAttention>;
  using recording = device.record(() => {
    output = decodeAttention(...inputs, length, shape);
  });
  recording.replay();
  const { created } = device.memory;
  for (const n of [1, 2, 64, 65, 129, 150, 7]) {
    length.write(Uint32Array.of(n));
    recording.replay();
    assertCloseTo(await output.readFloats(), reference(q, k, v, n, shape), { what: `length ${n}` });
  }
  assertEquals(device.memory.created, created);
});

deviceTest("decode attention names what does not fit", (device) => {
  const row = tensor(device, new Float32Array(8), [1, 8]);
  const length = tensor(device, Uint32Array.of(1));
  assertThrows(
    () => decodeAttention(row, row, row, length, { heads: 2, headSize: 8 }),
    RangeError,
    "2 heads of 8",
  );
  assertThrows(
    () => decodeAttention(row, row, row, row, { heads: 2, headSize: 4 }),
    RangeError,
    "one u32",
  );
  return Promise.resolve();
});
