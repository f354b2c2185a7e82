import { assertEquals, assertThrows } from "@std/assert";
import { InputError } from "./errors.ts";
import { JsonFields } from "./json_fields.ts";

const fields = new JsonFields("config.json", {
  layers: 4,
  rate: 1e-3,
  none: null,
  act: "silu",
  list: [0, 2],
  names: ["a", "b"],
  inner: { depth: 3 },
});

Deno.test("values come by their types, with fallbacks for absent keys and null", () => {
  assertEquals([fields.count("layers"), fields.count("none", 7), fields.count("no", 1)], [4, 7, 1]);
  assertEquals([fields.number("rate"), fields.number("no", -2)], [1e-3, -2]);
  assertEquals([fields.text("act"), fields.text("layers")], ["silu", undefined]);
  assertEquals([fields.counts("list"), fields.texts("names")], [[0, 2], ["a", "b"]]);
  assertEquals([fields.object("inner").count("depth"), fields.object("no").has("depth")], [
    3,
    false,
  ]);
  assertEquals([fields.has("none"), fields.is("act", "silu")], [false, true]);
  fields.only("act", ["silu"], "silu");
  fields.only("none", [], "nothing");
});

Deno.test("what does not fit is refused by file, key and value", () => {
  const cases: [() => unknown, string][] = [
    [() => fields.count("rate"), '"rate" is 0.001, expected a positive whole number'],
    [() => new JsonFields("f", { n: 2 ** 25 }).count("n"), "expected a positive whole number"],
    [() => fields.count("no"), '"no" is missing'],
    [() => fields.number("act"), '"act" is "silu", expected a number'],
    [() => fields.counts("names"), "expected a list of whole numbers"],
    [() => fields.texts("list"), "expected a list of texts"],
    [() => fields.object("list"), "expected an object"],
    [() => fields.only("act", ["gelu"], "gelu"), '"act" is "silu", expected gelu'],
    [() => fields.object("inner").count("width"), '"config.json" "inner": "width" is missing'],
  ];
  for (const [run, message] of cases) assertThrows(run, InputError, message);
  const long = new JsonFields("f", { text: "x".repeat(500) });
  const error = assertThrows(() => long.number("text"), InputError);
  assertEquals(error.message.length < 200, true);
});
