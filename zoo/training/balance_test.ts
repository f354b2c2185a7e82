import { assertEquals } from "@std/assert";
import { Random } from "../phantoms/random.ts";
import { drawBatch } from "./draw_kind.ts";
import { Pool } from "./pool.ts";

interface Lesson {
  readonly about: string;
  readonly answer: string;
}

Deno.test("a balance makes rare answers and rare questions as frequent as others", () => {
  // Of 8 pictures, one has the thing; another question is asked about half of them.
  const pool = new Pool(160, (n) => {
    const lessons: Lesson[] = ["a", "b", "c"].map((about, k) => ({
      about,
      answer: n % 8 === k ? "yes" : "no",
    }));
    if (n % 2 === 0) lessons.push({ about: "d", answer: n % 4 === 0 ? "yes" : "no" });
    return { lessons: new Map([["yesno", lessons]] as const) };
  });
  const random = new Random(1, 2), counts = new Map<string, number>();
  for (let step = 0; step < 400; step++) {
    const drawn = drawBatch(pool, {
      mix: { yesno: 1 },
      lengthOf: () => "short",
      pictures: 4,
      each: 1,
      pick: (some: readonly Lesson[]) => some[0]!,
      balanced: { kind: "yesno", key: ({ about, answer }) => about + answer },
    }, random);
    for (const { about, answer } of drawn.flatMap(({ lessons }) => lessons)) {
      counts.set(about + answer, (counts.get(about + answer) ?? 0) + 1);
    }
  }
  assertEquals(counts.size, 8);
  for (const [name, count] of counts) {
    assertEquals(count > 160 && count < 240, true, `${name}: ${count}, 200 expected`);
  }
});
