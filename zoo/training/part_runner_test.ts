import { assertEquals, assertRejects } from "@std/assert";
import { HostDevice } from "@medvlm/core/device";
import { InputError } from "@medvlm/core";
import { multiply, reduceMean, tensor } from "@medvlm/core/tensor";
import { PartRunner, type PreparedPart } from "./part_runner.ts";

const settings = { steps: 4, batch: 1, rate: 0.1, warmupShare: 0 };

Deno.test("a part is done once, and never again with other settings or after other parts", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const device = new HostDevice();
    let prepared = 0, disposed = 0;
    const prepare = (): Promise<PreparedPart> => {
      prepared++;
      const value = tensor(device, Float32Array.of(1, 2), [1, 2]);
      return Promise.resolve({
        task: {
          parameters: [{ parameters: [{ name: "x", value }] }],
          batches: () => Promise.resolve([undefined]),
          loss: () => ({ total: reduceMean(multiply(value, value), 1) }),
        },
        evaluate: () => Promise.resolve({}),
        save: async (path) =>
          Deno.writeFile(`${path}/x`, new Uint8Array((await value.readFloats()).buffer)),
        [Symbol.asyncDispose]: () => {
          disposed++;
          value.dispose();
          return Promise.resolve();
        },
      });
    };
    const steps: number[] = [];
    const runner = (shared: unknown, signal?: AbortSignal) =>
      new PartRunner({
        device,
        folder,
        ...(signal ? { signal } : {}),
        progress: (part, line) => {
          if (part === "one" && "loss" in line) steps.push(line.step);
        },
      }, shared);
    assertEquals(
      await runner({ seed: 1 }, AbortSignal.abort()).part("one", settings, prepare),
      false,
    );
    assertEquals(await runner({ seed: 1 }).part("one", settings, prepare), true);
    assertEquals([steps, prepared, disposed], [[0, 1, 2, 3], 2, 2]);
    const [x, y] = new Float32Array((await Deno.readFile(`${folder}/one/x`)).buffer);
    assertEquals([x! < 1, y! < 2], [true, true]);
    assertEquals(await runner({ seed: 1 }).part("one", settings, prepare), true);
    assertEquals(prepared, 2);
    for (
      const [shared, own] of [[{ seed: 2 }, settings], [{ seed: 1 }, { ...settings, steps: 5 }]]
    ) {
      await assertRejects(
        () => runner(shared).part("one", own as typeof settings, prepare),
        InputError,
        "other settings",
      );
    }
    // A part is built on those before it: made anew with other settings they leave it behind.
    const both = async (steps: number) => {
      const run = runner({ seed: 1 });
      await run.part("one", { ...settings, steps }, prepare);
      return await run.part("two", settings, prepare);
    };
    assertEquals(await both(4), true);
    assertEquals(await both(4), true);
    await Deno.remove(`${folder}/one`, { recursive: true });
    await assertRejects(() => both(5), InputError, "those it started from");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
