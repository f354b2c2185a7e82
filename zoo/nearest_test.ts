import { assertEquals } from "@std/assert";
import { editDistance, nearest } from "./nearest.ts";

Deno.test("edit distances count insertions, deletions, replacements and swaps", () => {
  const cases: [string, string, number][] = [
    ["", "", 0],
    ["", "abc", 3],
    ["image", "image", 0],
    ["imge", "image", 1],
    ["iamge", "image", 1],
    ["imagge", "image", 1],
    ["inage", "image", 1],
    ["kitten", "sitting", 3],
  ];
  for (const [a, b, distance] of cases) {
    assertEquals(editDistance(a, b), distance, `${a} ${b}`);
    assertEquals(editDistance(b, a), distance, `${b} ${a}`);
  }
});

Deno.test("the nearest known word is found whatever the case", () => {
  assertEquals(nearest("MEDLIB", ["pfmvg", "medplib", "litegpt"]), "medplib");
  assertEquals(nearest("trian", ["run", "train", "eval"]), "train");
  assertEquals(nearest("x", []), undefined);
});
