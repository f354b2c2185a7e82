import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { checkTensors, renameTensors } from "./name_map.ts";
import { checkpointSource } from "./source.ts";
import { memoryTensor } from "./tensor_data.ts";

function source(shapes: Record<string, number[]>) {
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    const size = shape.reduce((product, length) => product * length, 1);
    return [name, memoryTensor(name, "U8", shape, new Uint8Array(size))] as const;
  });
  return checkpointSource("c", new Map(tensors));
}

Deno.test("a fitting checkpoint passes, with optional and ignored tensors", () => {
  const held = source({ a: [2, 3], b: [], extra: [1] });
  const expected = [{ name: "a", shape: [2, 3] }, { name: "b", shape: [] }];
  checkTensors(held, [...expected, { name: "c", shape: [4], optional: true }], {
    ignore: [/^ext/g],
  });
});

Deno.test("one message names every problem", () => {
  const held = source({ a: [2, 3], scalar: [], extra: [1], opt: [2] });
  const check = () =>
    checkTensors(held, [
      { name: "a", shape: [3, 2] },
      { name: "scalar", shape: [1] },
      { name: "gone", shape: [7, 7] },
      { name: "opt", shape: [3], optional: true },
    ]);
  const error = assertThrows(check, InputError);
  assertEquals(error.code, "CHECKPOINT_MISMATCH");
  assertEquals(
    error.message,
    'Cannot load "c": its tensors are not those of the model; 1 missing: gone [7,7]; 1 unexpected: extra [1]; ' +
      "3 of another shape: a is [2,3], expected [3,2], scalar is [], expected [1], opt is [2], expected [3]",
  );
});

Deno.test("long lists are cut", () => {
  const expected = Array.from({ length: 100 }, (_, i) => ({ name: `n${i}`, shape: [i] }));
  const error = assertThrows(() => checkTensors(source({}), expected), InputError, "and 60 more");
  assert(error.message.includes("n39 [39]") && !error.message.includes("n40"));
});

Deno.test("names are mapped, left out and never merged", async () => {
  const held = source({ "m.a": [2], "m.b": [1], other: [1] });
  const mapped = renameTensors(held, (name) => /^m\.(.+)/.exec(name)?.[1]);
  assertEquals(mapped.names(), ["a", "b"]);
  assertEquals((await mapped.get("a")!.read()).length, 2);
  assertThrows(() => renameTensors(held, () => "same"), InputError, '"same"');
});
