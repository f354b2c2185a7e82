import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { Model, Request } from "@medvlm/core";
import { HostDevice } from "@medvlm/core/device";
import { chestReport } from "../phantoms/chest_report.ts";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { Random } from "../phantoms/random.ts";
import { familyLessons } from "./minigpt_lessons.ts";
import { measureReports } from "./minigpt_report.ts";

const source = { size: 64, seed: 3, split: "test", count: 6 } as const;
const phantoms = Array.from(
  { length: source.count },
  (_, n) => chestPhantom({ ...source, index: splitIndex("test", n) }),
);

/** A model that writes a given report about each picture in turn. */
function writing(report: (n: number) => string): Model {
  let n = 0;
  const timings = { prefill: 0, decode: 0, ground: 0, promptTokens: 1, newTokens: 0 };
  return {
    device: new HostDevice(),
    weightBytes: 0,
    untrained: false,
    async *answer(_: Request) {
      const answer = { text: report(n++), tokens: [], phrases: [], timings };
      yield await Promise.resolve({ type: "done", answer: { ...answer, finish: "stop" } } as const);
    },
    save: () => Promise.reject(new TypeError("There is nothing to save")),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

Deno.test("the report of the picture itself has the best scores, whatever others there are", async () => {
  const truths = phantoms.map((phantom) =>
    familyLessons(phantom).find(([kind]) => kind === "report")![1].answer
  );
  const { single, several } = await measureReports(writing((n) => truths[n]!), { source });
  for (const { bleu4, rougeL } of [single, several]) {
    assertAlmostEquals(bleu4.value, 1, 1e-9);
    assertAlmostEquals(rougeL.value, 1, 1e-9);
    assert(bleu4.baseline < 1 && rougeL.baseline < 1);
  }
});

Deno.test("against several reports of the same findings one more agrees better than against one", async () => {
  const reports = phantoms.map((one) => chestReport(one, new Random(9, 9, 9)).findings.text);
  const { single, several } = await measureReports(writing((n) => reports[n]!), { source });
  for (const one of ["bleu4", "rougeL"] as const) {
    assert(single[one].value < 1 && several[one].value > single[one].value);
    assert(several.reworded[one] > single.reworded[one]);
    // What is always said about a normal chest agrees less than what is known about the findings.
    assert(several[one].value > several[one].baseline);
  }
});

Deno.test("a model that says nothing has no score", async () => {
  const { single, several } = await measureReports(writing(() => ""), { source });
  for (const { bleu4, rougeL } of [single, several]) {
    assertEquals([bleu4.value, rougeL.value], [0, 0]);
  }
});
