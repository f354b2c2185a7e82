import { assertEquals } from "@std/assert";
import { ConstraintState } from "../tensor/constraint.ts";
import { tensor } from "../tensor/tensor.ts";
import { forbiddenLogit } from "./constraint.ts";
import { deviceTest, normals } from "./kernel_testing.ts";

deviceTest("forbidden logits and the walk of an automaton, at odd sizes", async (device) => {
  for (const [vocabulary, states, classes] of [[1, 1, 1], [67, 3, 5], [1031, 13, 7]] as const) {
    const draw = normals(vocabulary + states * classes, vocabulary);
    const classOf = Uint32Array.from(
      { length: vocabulary },
      (_, i) => Math.floor(1000 * Math.abs(draw[i]!)) % classes,
    );
    const next = Uint32Array.from({ length: states * classes }, (_, i) => {
      const value = Math.floor(1000 * Math.abs(draw[vocabulary + i]!));
      return value % 3 === 0 ? 0xffffffff : value % states;
    });
    const start = states - 1;
    using automaton = new ConstraintState(device, { states, classes, start, classOf, next });
    let state: number = start;
    for (let step = 0; step < 6; step++) {
      const values = normals(vocabulary, step);
      const logits = tensor(device, values, [1, vocabulary]);
      automaton.constrain(logits);
      const row = next.subarray(state * classes, (state + 1) * classes);
      const forbidden = (id: number) => row[classOf[id]!] === 0xffffffff;
      assertEquals(
        await logits.readFloats(),
        values.map((value, id) => forbidden(id) ? Math.fround(forbiddenLogit) : value),
      );
      const token = (step * 29) % vocabulary;
      const chosen = tensor(device, Uint32Array.of(token));
      automaton.advance(chosen);
      if (!forbidden(token)) state = row[classOf[token]!]!;
      for (const one of [logits, chosen]) one.dispose();
    }
  }
});
