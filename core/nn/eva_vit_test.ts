import { assertEquals } from "@std/assert";
import { HostDevice } from "../device/mod.ts";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { tensor } from "../tensor/tensor.ts";
import { evaPositions, evaVit, type EvaVitConfig, evaVitParameters } from "./eva_vit.ts";
import { initialParameters } from "./parameters.ts";

/** Heads of 88 channels, as the published tower has them, and a grid that the file does not hold. */
const config: EvaVitConfig = {
  hiddenSize: 176,
  intermediateSize: 211,
  layers: 2,
  heads: 2,
  imageSize: 45,
  patchSize: 9,
  storedGrid: 3,
  epsilon: 1e-6,
};

deviceTest("the tower gives the same on every device, picture by picture", async (device) => {
  const host = new HostDevice();
  const pixels = normals(2 * 3 * 45 * 45, 3);
  const run = async (on: typeof device, batch: number) => {
    const p = await initialParameters(on, evaVitParameters(config, "v.", "F16"), 5);
    using _scope = on.scope();
    const x = tensor(on, pixels.slice(0, batch * 3 * 45 * 45), [batch, 3, 45, 45]);
    const hidden = evaVit(p.at("v."), x, config);
    assertEquals(hidden.shape, [batch, 26, 176]);
    const values = await hidden.readFloats();
    p.dispose();
    return values;
  };
  const both = await run(device, 2), one = await run(host, 1);
  assertCloseTo(both.slice(0, one.length), one, { atol: 1e-4, rtol: 1e-4, nmse: 1e-8 });
});

deviceTest(
  "positions of the stored grid stay as they are, others keep the class token's",
  async (device) => {
    const p = await initialParameters(device, evaVitParameters(config, "v.", "F16"), 5);
    using _scope = device.scope();
    const stored = await p.tensor("v.pos_embed").readFloats();
    const same = evaPositions(p.at("v."), { ...config, imageSize: 27 });
    assertEquals(await same.readFloats(), stored);
    const stretched = evaPositions(p.at("v."), config);
    assertEquals(stretched.shape, [26, 176]);
    assertEquals((await stretched.readFloats()).slice(0, 176), stored.slice(0, 176));
    p.dispose();
  },
);
