import { assertEquals } from "@std/assert";
import { penaliseRepetition, tensor } from "../tensor/mod.ts";
import { deviceTest, normals } from "./kernel_testing.ts";

deviceTest("tokens of the history are penalised once each", async (device) => {
  for (
    const { columns, history, count, also } of [
      { columns: 1, history: [0], count: 1, also: undefined },
      { columns: 7, history: [3, 3, 6, 0, 2], count: 4, also: 6 },
      {
        columns: 131,
        history: Array.from({ length: 97 }, (_, i) => (i * i) % 140),
        count: 90,
        also: 5,
      },
      { columns: 64, history: [1, 2], count: 0, also: undefined },
    ]
  ) {
    using _scope = device.scope();
    const values = normals(columns, columns);
    const logits = tensor(device, values, [1, columns]);
    penaliseRepetition(
      logits,
      tensor(device, Uint32Array.from(history)),
      tensor(device, Uint32Array.of(count)),
      1.3,
      also,
    );
    const known = new Set([...history.slice(0, count), ...also === undefined ? [] : [also]]);
    const penalty = Math.fround(1.3);
    const expected = values.map((value, i) =>
      !known.has(i) ? value : value < 0 ? value * penalty : value / penalty
    );
    const actual = await logits.readFloats();
    const off = actual.map((value, i) => Math.abs(value - expected[i]!));
    assertEquals(off.filter((one) => !(one <= 1e-6)), new Float32Array());
  }
});
