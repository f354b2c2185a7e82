import { assertEquals } from "@std/assert";
import type { Example } from "@medvlm/core";
import { epochOrder, holdOut, Order } from "./order.ts";

Deno.test("every epoch has all examples in an order of its own, filled up to whole steps", () => {
  assertEquals([...epochOrder(7, 1, 0)].sort(), [0, 1, 2, 3, 4, 5, 6]);
  assertEquals(epochOrder(50, 1, 3), epochOrder(50, 1, 3));
  assertEquals(String(epochOrder(50, 1, 3)) === String(epochOrder(50, 1, 4)), false);
  const order = new Order(7, 3, 9);
  assertEquals(order.stepsPerEpoch, 3);
  const first = (step: number, i: number) => order.candidates(step, i).next().value!;
  const epoch = [0, 1, 2].flatMap((step) => [0, 1, 2].map((i) => first(step, i)));
  assertEquals(new Set(epoch.slice(0, 7)).size, 7);
  assertEquals(epoch.slice(7), epoch.slice(0, 2));
  // The second epoch, and the first one again: a step depends on nothing that came before.
  const later = first(4, 1);
  assertEquals(first(0, 0), epoch[0]);
  assertEquals(first(4, 1), later);
});

Deno.test("examples that are of no use are replaced by the next ones, each example once", () => {
  const order = new Order(5, 2, 4);
  const all = [...order.candidates(1, 0)];
  assertEquals([...all].sort(), [0, 1, 2, 3, 4]);
  assertEquals(order.candidates(1, 1).next().value, all[1]);
});

Deno.test("patients are held out whole", () => {
  const examples = Array.from({ length: 40 }, (_, n): Example => ({
    id: `${n}`,
    image: `${n % 20}.png`,
    task: "vqa",
    prompt: "?",
    answer: "!",
    ...(n % 2 === 0 ? { patient: `p${n % 10}` } : {}),
  }));
  const { taught, held } = holdOut(examples, 0.2, 3);
  assertEquals(taught.length + held.length, 40);
  const groups = (some: readonly Example[]) =>
    new Set(some.map(({ patient, image }) => patient ?? image));
  // Five patients and ten pictures without one.
  assertEquals(groups(examples).size, 15);
  assertEquals(groups(held).size, 3);
  assertEquals([...groups(held)].some((group) => groups(taught).has(group)), false);
  assertEquals(holdOut(examples, 0.2, 3), { taught, held });
  assertEquals(holdOut(examples, 0, 3).held, []);
  assertEquals(groups(holdOut(examples, 0.001, 3).held).size, 1);
  assertEquals(holdOut(examples.slice(0, 1), 0.9, 3).held, []);
});
