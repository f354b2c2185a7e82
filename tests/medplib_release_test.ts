/**
 * A released directory: loads, answers, is saved in the official layout, and loads again equal; in every weight storage.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  DeviceError,
  InputError,
  openCheckpoint,
  openFolder,
  type Raster,
  type WeightStorage,
} from "@medvlm/core";
import { checkpointSource, memoryFolder, type TensorEntry } from "@medvlm/core/checkpoint";
import { type Device, HostDevice, openDevice } from "@medvlm/core/device";
import { decodeImageFile } from "@medvlm/core/image";
import { openFile } from "@medvlm/core";
import { medplib } from "@medvlm/medplib";
import { deviceTest } from "../core/kernels/kernel_testing.ts";

const golden = new URL("./golden/medplib", import.meta.url).pathname;
const picturePath = `${golden}/pipeline-seg/data/images/ct_00--TinyPhantom--case_0003--z_0040.png`;
const prompt = "Can you segment the spleen in this image?";

async function picture(): Promise<Raster> {
  using file = await openFile(picturePath);
  return (await decodeImageFile(file)).raster;
}

async function loadRelease(device: Device, dtype: WeightStorage = "f32") {
  const folder = await openFolder(`${golden}/tiny-release`);
  using tensors = await openCheckpoint(folder);
  return await medplib.load({ folder, tensors }, { device, dtype });
}

async function answer(model: Awaited<ReturnType<typeof loadRelease>>, limit = 24) {
  for await (
    const event of model.answer({ image: await picture(), prompt }, { maxNewTokens: limit })
  ) {
    if (event.type === "done") return event.answer;
  }
  throw new Error("no answer");
}

deviceTest("a release loads, answers, is saved and loads again equal", async (device) => {
  await using model = await loadRelease(device);
  const first = await answer(model);
  assertEquals(first.text, "Sure, it is <SEG> .");
  assertEquals(first.finish, "stop");
  const saved = memoryFolder("saved");
  await model.save(saved);
  using source = await openCheckpoint(await openFolder(`${golden}/tiny-release`));
  using copy = await openCheckpoint(saved);
  assertEquals(copy.names().sort(), source.names().sort());
  for (const name of source.names()) {
    const before = source.get(name)!, after = copy.get(name)!;
    assertEquals([after.dtype, after.shape], [before.dtype, before.shape], name);
    assertEquals(await after.read(), await before.read(), name);
  }
  await using again = await medplib.load({ folder: saved, tensors: copy }, { device });
  const second = await answer(again);
  assertEquals(second.tokens, first.tokens);
  assertEquals(second.phrases[0]?.masks[0]?.data, first.phrases[0]?.masks[0]?.data);
});

for (const dtype of ["f16", "q8", "q4"] as const) {
  deviceTest(`a release answers with ${dtype} weights`, async (device) => {
    await using full = await loadRelease(device);
    await using small = await loadRelease(device, dtype);
    assert(small.weightBytes < full.weightBytes);
    // Four bits may change what a small random model says; eight and sixteen may not.
    const { tokens, text } = await answer(small, 8);
    if (dtype !== "q4") assertEquals(text, "Sure, it is");
    assertEquals(tokens.length > 0, true);
    await assertRejects(() => small.save(memoryFolder("lossy")), InputError, "--dtype f32");
  });
}

Deno.test("missing, unexpected and mis-shaped tensors are all named", async () => {
  const folder = await openFolder(`${golden}/tiny-release`);
  using source = await openCheckpoint(folder);
  const changed = new Map<string, TensorEntry>(
    [...source.entries()].map((entry) => [entry.name, entry]),
  );
  changed.delete("model.norm.weight");
  changed.set("model.extra.weight", {
    ...changed.get("lm_head.weight")!,
    name: "model.extra.weight",
  });
  changed.set("model.mm_projector.0.bias", changed.get("model.mm_projector.2.weight")!);
  const error = await assertRejects(
    () =>
      medplib.load({ folder, tensors: checkpointSource("changed", changed) }, {
        device: new HostDevice(),
      }),
    InputError,
  );
  for (
    const name of [
      "model.norm.weight",
      "model.extra.weight",
      "model.mm_projector.0.bias",
      "[64,64]",
    ]
  ) {
    assert(error.message.includes(name), `${name} in: ${error.message}`);
  }
});

Deno.test("a device that is not there is one sentence", async () => {
  try {
    await using _device = await openDevice({ device: "webgpu" });
  } catch (error) {
    assert(error instanceof DeviceError && error.message.includes("--device wasm"));
  }
});
