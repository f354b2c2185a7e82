import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DeviceError } from "@medvlm/core";
import { medplib } from "@medvlm/medplib";
import { checkTrainingMemory, plannedBytes } from "./memory_check.ts";

const gibibyte = 2 ** 30;
const host = { kind: "wasm", capabilities: { software: true } } as Parameters<
  typeof checkTrainingMemory
>[3];

Deno.test("a stage that cannot fit is refused with flags under which it would, before anything is loaded", async () => {
  const config = medplib.presets.paper!;
  const stage = await medplib.prepareStage({ config }, "grounding", 0);
  const load = { dtype: "f32", batch: 8, rows: 700, recompute: false } as const;
  const check = (available: number, others: Partial<typeof load> = {}) =>
    checkTrainingMemory(stage, { ...load, ...others }, 1, host, available);
  const refusal = (available: number) => assertThrows(() => check(available), DeviceError).message;
  assertStringIncludes(refusal(16 * gibibyte), "use --dtype q8 --recompute --accumulation 8");
  assertStringIncludes(refusal(2 * gibibyte), "available; use a machine with a GPU");
  const recomputed = plannedBytes(stage.memory({ ...load, recompute: true }));
  assertStringIncludes(refusal(recomputed), "use --recompute, or");
  assertStringIncludes(refusal(recomputed - gibibyte), "use --recompute --accumulation 2, or");
  assertStringIncludes(refusal(recomputed), "Cannot train stage grounding as f32: it needs about ");
  assertEquals(check(500 * gibibyte), undefined);
  // The memory of a graphics card is not known in advance.
  const card = { kind: "webgpu", capabilities: { software: false } } as typeof host;
  assertEquals(checkTrainingMemory(stage, load, 1, card, 0), undefined);
});
