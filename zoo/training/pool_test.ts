import { assertEquals, assertThrows } from "@std/assert";
import { splitIndex } from "../phantoms/mod.ts";
import { phantomPool, Pool, stepRandom } from "./pool.ts";

Deno.test("entries are made once, when first wanted", () => {
  const made: number[] = [];
  const pool = new Pool(5, (n) => {
    made.push(n);
    return 10 * n;
  });
  assertEquals([pool.at(3), pool.at(1), pool.at(3)], [30, 10, 30]);
  assertEquals(made, [3, 1]);
  assertThrows(() => new Pool(0, (n) => n), RangeError, "at least 1");
});

Deno.test("draws depend on seed and step, and repeat nothing before they must", () => {
  const pool = new Pool(7, (n) => n);
  const draw = (seed: number, step: number, count: number) =>
    pool.draw(stepRandom(seed, step, 9), count);
  assertEquals(draw(1, 2, 6), draw(1, 2, 6));
  assertEquals(new Set(draw(1, 2, 7)).size, 7);
  assertEquals([5, 6].some((step) => String(draw(1, step, 6)) !== String(draw(1, 4, 6))), true);
  const twice = draw(4, 0, 14);
  assertEquals([...twice].sort(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
});

Deno.test("pools of phantoms are of one part", () => {
  const indices = (split?: "train" | "test") => {
    const source = { size: 32, seed: 3, count: 2, ...(split === undefined ? {} : { split }) };
    const pool = phantomPool(source, ({ index, seed }) => `${seed} ${index}`);
    return [pool.at(0), pool.at(1)];
  };
  assertEquals(indices(), [`3 ${splitIndex("train", 0)}`, `3 ${splitIndex("train", 1)}`]);
  assertEquals(indices("test"), [`3 ${splitIndex("test", 0)}`, `3 ${splitIndex("test", 1)}`]);
});
