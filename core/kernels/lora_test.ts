import { assertEquals } from "@std/assert";
import { linear, type LoraTerm, mergeLora } from "../tensor/linear.ts";
import { tensor } from "../tensor/tensor.ts";
import { weight } from "../tensor/weight.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { productT, variants } from "./matmul_testing.ts";

deviceTest("adapters act as if merged, one or several, on any base dtype", async (device) => {
  for (const [name, target] of variants(device)) {
    for (
      const [m, n, k] of [[1, 16, 32], [2, 9, 33], [4, 70, 64], [33, 65, 36]] as const
    ) {
      for (const ranks of [[1], [8], [5, 3], [4, 16, 7]]) {
        const x = normals(m * k, 1), bias = tensor(target, normals(n, 9));
        const terms: LoraTerm[] = ranks.map((rank, i) => ({
          a: tensor(target, normals(rank * k, 10 + i), [rank, k]),
          b: tensor(target, normals(n * rank, 20 + i), [n, rank]),
          scale: 0.25 / (i + 1),
        }));
        const dtype = ranks.length === 2 ? "q8" : "f32";
        const base = weight(target, normals(n * k, 2), n, k, dtype);
        const merged = mergeLora(weight(target, await base.readFloats(), n, k), terms);
        const input = tensor(target, x, [m, k]);
        const [one, two, rows] = await Promise.all([
          linear(input, base, { lora: terms, bias }).readFloats(),
          linear(input, merged, { bias }).readFloats(),
          merged.readFloats(),
        ]);
        const what = `${name} ${[m, n, k]} ranks ${ranks} ${dtype}`;
        assertCloseTo(one, two, { atol: 2e-4, what });
        const offsets = normals(n, 9);
        const expected = productT(x, rows, m, n, k).map((value, i) => value + offsets[i % n]!);
        assertCloseTo(one, expected, { atol: 2e-4, what });
        base.dispose();
        merged.dispose();
      }
    }
  }
});

deviceTest("selected rows go where they are told, and the others stay", async (device) => {
  for (const [name, target] of variants(device)) {
    for (const rows of [1, 30]) {
      const [n, k, tokens] = [19, 64, 50];
      const x = normals(tokens * k, 1), w = weight(target, normals(n * k, 2), n, k, "q4");
      const full = productT(x, await w.readFloats(), tokens, n, k);
      const order = Uint32Array.from({ length: tokens + 5 }, (_, i) => (i * 17) % tokens);
      const counts = Uint32Array.of(0, Math.ceil(rows / 2), rows + 7);
      const lora: LoraTerm[] = [{
        a: tensor(target, normals(4 * k, 3), [4, k]),
        b: tensor(target, new Float32Array(n * 4), [n, 4]),
        scale: 1,
      }];
      for (const count of [0, 1, 2]) {
        for (const index of [undefined, tensor(target, order)]) {
          const into = tensor(target, new Float32Array((rows + 3) * n).fill(5), [rows + 3, n]);
          const select = { rows, first: 2, counts: tensor(target, counts), count };
          const y = linear(tensor(target, x, [tokens, k]), w, {
            select: index === undefined ? select : { ...select, index },
            into: { tensor: into, firstRow: 1 },
            lora,
          });
          assertEquals(y, into);
          const expected = new Float64Array((rows + 3) * n).fill(5);
          for (let r = 0; r < Math.min(rows, counts[count]!); r++) {
            const source = index === undefined ? 2 + r : order[2 + r]!;
            expected.set(full.subarray(source * n, (source + 1) * n), (1 + r) * n);
          }
          assertCloseTo(await y.readFloats(), expected, {
            atol: 1e-4,
            what: `${name} ${rows} rows, count ${count}`,
          });
        }
      }
    }
  }
});

deviceTest("layers replay with new inputs and allocate nothing when repeated", async (device) => {
  const [m, n, k] = [2, 24, 64];
  const w = weight(device, normals(n * k, 2), n, k, "q8"), rows = await w.readFloats();
  const x = tensor(device, normals(m * k, 1), [m, k]);
  const zero = {
    a: tensor(device, normals(k, 3), [1, k]),
    b: tensor(device, new Float32Array(n), [n, 1]),
    scale: 1,
  };
  const once = () => {
    using _scope = device.scope();
    linear(x, w, { lora: [zero, zero] });
  };
  once();
  const { created } = device.memory;
  once();
  assertEquals(device.memory.created, created);

  const y = tensor(device, new Float32Array(m * n), [m, n]);
  using recording = device.record(() => {
    linear(x, w, { lora: [zero, zero], into: { tensor: y, firstRow: 0 } });
  });
  for (const seed of [5, 6]) {
    const values = normals(m * k, seed);
    x.write(values);
    recording.replay();
    assertCloseTo(await y.readFloats(), productT(values, rows, m, n, k), { atol: 1e-4 });
  }
});
