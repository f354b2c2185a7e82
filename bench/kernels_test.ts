import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { openDevice } from "../core/device/mod.ts";
import { InputError } from "../core/errors.ts";
import { unary } from "../core/tensor/mod.ts";
import { type KernelResult, runRow, WrongResult } from "./kernels.ts";
import { describeMachine, machineSlug, machineText } from "./machine.ts";
import { parseOptions } from "./main.ts";
import { interleave, median, pairedRatio } from "./measure.ts";
import { uniforms } from "./random.ts";
import { resultJson, resultLine, resultMarkdown, resultTable } from "./report.ts";
import { largestError } from "./row.ts";
import { decodeRow, sequenceRow } from "./rows_attention.ts";
import { matmulRow, vectorRow } from "./rows_matmul.ts";
import { layerNormRow } from "./rows_norm.ts";

const quick = { seconds: 0.01, turnSeconds: 0.01 };

// The peer's runtime keeps its module and timers for the life of the process.
const lasting = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "every kind of row agrees with double precision and with the peers",
  lasting,
  async (t) => {
    await using device = await openDevice();
    const rows = [
      matmulRow(5, 40, 24),
      ...(["f32", "f16", "q8", "q4"] as const).map((dtype) => vectorRow(64, 32, dtype)),
      sequenceRow(9, 2, 16, false),
      sequenceRow(9, 2, 16, true),
      decodeRow(20, 2, 16),
      layerNormRow(6, 24),
    ];
    const results: KernelResult[] = [];
    for (const row of rows) {
      await t.step(row.name, async () => {
        const result = await runRow(device, row, quick);
        results.push(result);
        assert(result.ours.median > 0 && result.ours.best <= result.ours.median);
        assert(result.ours.rate > 0 && result.ours.turns.length >= 3);
        assert(!("failure" in result.wasm), JSON.stringify(result.wasm));
        if (device.kind === "webgpu") {
          assert(!("failure" in result.webgpu), JSON.stringify(result.webgpu));
        }
        assert(result.ratios.wasm.median > 0);
      });
    }
    const machine = describeMachine(device);
    assertStringIncludes(machineText(machine), device.info.name);
    assertMatch(machineSlug(machine), /^[a-z0-9-]+$/);
    for (const text of [resultTable(results), resultMarkdown(results)]) {
      for (const { name } of rows) assertStringIncludes(text, name);
    }
    assertStringIncludes(resultLine(results[0]!), "GFLOPS");
    const json = JSON.parse(resultJson(machine, new Date(0), results));
    assertEquals(json.date, "1970-01-01T00:00:00.000Z");
    assertEquals(json.results.length, rows.length);
  },
);

Deno.test("a wrong result is not timed", lasting, async () => {
  await using device = await openDevice();
  const row = layerNormRow(3, 8);
  const wrong = {
    ...row,
    prepare: (on: typeof device) => {
      const right = row.prepare(on);
      return { ...right, ours: () => unary("sigmoid", right.ours()) };
    },
  };
  const error = await assertRejects(() => runRow(device, wrong, quick), WrongResult);
  assertStringIncludes(error.message, "our kernel on layer norm 3x8");
});

Deno.test("errors are relative to the root mean square, NaN is the worst", () => {
  const reference = (row: number) => Float64Array.of(3 + row, -4);
  const output = Float32Array.of(3, -4, 4, -4);
  assertEquals(largestError({ rows: 2, reference }, output), 0);
  output[3] = -3;
  assertEquals(largestError({ rows: 2, reference }, output), 1 / 4);
  output[0] = NaN;
  assert(Number.isNaN(largestError({ rows: 2, reference }, output)));
  assert(Number.isNaN(largestError({ rows: 1, reference }, output)));
});

Deno.test("contenders take turns, each with its own number of runs", async () => {
  const log: string[] = [];
  const contender = (name: string, each: number) => ({
    async run(times: number) {
      log.push(name);
      await new Promise((resolve) => setTimeout(resolve, each * times));
    },
  });
  const [a, b] = await interleave(
    [contender("a", 1), contender("b", 20)],
    { seconds: 0, turnSeconds: 0.02 },
  );
  assertEquals(log.slice(-6).join(""), "ababab");
  assertEquals([a!.turns.length, b!.turns.length, b!.runs], [3, 3, 1]);
  assert(a!.runs > 1);
});

Deno.test("ratios pair the turns of a round", () => {
  const timing = (turns: number[]) => ({ turns, median: median(turns), best: 1, runs: 1 });
  assertEquals(pairedRatio(timing([2, 40, 6]), timing([1, 20, 2])), 2);
});

Deno.test("medians of odd, even and no counts", () => {
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 2, 3]), 2.5);
  assert(Number.isNaN(median([])));
});

Deno.test("seeded numbers repeat, fill [-1, 1) and have mean zero", () => {
  const values = uniforms(10_000, 7);
  assertEquals(values, uniforms(10_000, 7));
  assert(values.every((value) => value >= -1 && value < 1));
  assert(Math.abs(values.reduce((sum, value) => sum + value, 0) / 10_000) < 0.03);
});

Deno.test("options are read, and wrong ones refused in a sentence", () => {
  assertEquals(parseOptions(["--help"]), "help");
  const options = parseOptions(["--kernels", "--filter", "matvec", "--seconds", "2.5", "--json"]);
  assertEquals(options, {
    filter: "matvec",
    seconds: 2.5,
    device: "webgpu",
    json: true,
    markdown: false,
    save: false,
  });
  const refused: [string[], string][] = [
    [[], "--kernels"],
    [["--kernels", "--seconds", "soon"], "--seconds soon"],
    [["--kernels", "--device", "tpu"], "--device tpu"],
    [["--kernels", "--fast"], "--fast"],
    [["everything"], "everything"],
  ];
  for (const [args, words] of refused) {
    const error = assertThrows(() => parseOptions(args), InputError);
    assertStringIncludes(error.message, words);
  }
});
