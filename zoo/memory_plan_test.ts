import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DeviceError } from "@medvlm/core";
import { checkMemory, fittingDtypes, neededBytes } from "./memory_plan.ts";
import { loadPlugin } from "./plugins.ts";

const plugin = await loadPlugin("medplib");
const { paper, tiny } = plugin.presets;
const software = { kind: "wasm", capabilities: { software: true } } as Parameters<
  typeof checkMemory
>[3];
const hardware = { kind: "webgpu", capabilities: { software: false } } as Parameters<
  typeof checkMemory
>[3];
const gib = 2 ** 30;

Deno.test("narrower storage needs less, and a reserve is kept", () => {
  const bytes = (["f32", "f16", "q8", "q4"] as const).map((dtype) =>
    neededBytes(plugin, paper, dtype)
  );
  assertEquals(bytes, bytes.toSorted((a, b) => b - a));
  assertEquals(bytes[0] > 40 * gib && bytes[3] < 10 * gib, true);
});

Deno.test("a model that cannot fit is refused with needed, available and the ways out", () => {
  const error = assertThrows(
    () => checkMemory(plugin, paper, "f32", software, 14 * gib),
    DeviceError,
  );
  assertEquals(error.code, "OUT_OF_MEMORY");
  for (const part of ["GiB", "14.0 GiB", "--dtype q8", "--preset small", "GPU"]) {
    assertStringIncludes(error.message, part);
  }
  assertEquals(fittingDtypes(plugin, paper, 14 * gib), ["q8", "q4"]);
});

Deno.test("what fits passes, and a graphics card's memory is not guessed", () => {
  checkMemory(plugin, tiny, "f32", software, gib);
  checkMemory(plugin, paper, "f32", hardware, gib);
});
