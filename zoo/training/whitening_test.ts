import { assertEquals } from "@std/assert";
import { HostDevice } from "@medvlm/core/device";
import { initialParameters, linearLayer, type ParameterSpec, specMaker } from "@medvlm/core/nn";
import { tensor } from "@medvlm/core/tensor";
import { Random } from "../phantoms/random.ts";
import { whitenLinear } from "./whitening.ts";

const outputs = 7, width = 5, count = 4000;

Deno.test("outputs of a whitened layer vary alike, whatever its inputs have in common", async () => {
  const device = new HostDevice();
  const specs: ParameterSpec[] = specMaker("", "F32").linear("layer", outputs, width);
  const parameters = await initialParameters(device, specs, 1);
  const random = new Random(3, 0, 0);
  // One large direction in common, a small one, far from zero.
  const inputs = new Float32Array(count * width);
  for (let row = 0; row < count; row++) {
    const draw = () => random.uniform(-1, 1);
    const [common, rare] = [3 * draw(), draw()];
    for (let i = 0; i < width; i++) {
      inputs[row * width + i] = 40 + common * (i + 1) + rare * (i % 2) + 0.5 * draw();
    }
  }
  await whitenLinear(parameters, "layer", inputs, 0.1);
  const y = await linearLayer(parameters.at(""), "layer", tensor(device, inputs, [count, width]))
    .readFloats();
  for (let o = 0; o < outputs; o++) {
    let sum = 0, squares = 0;
    for (let row = 0; row < count; row++) sum += y[row * outputs + o]! / count;
    for (let row = 0; row < count; row++) squares += (y[row * outputs + o]! - sum) ** 2 / count;
    assertEquals(Math.abs(sum) < 0.01, true, `mean ${sum}`);
    // What is added to the variances takes a little of the small ones.
    const deviation = Math.sqrt(squares);
    assertEquals(deviation > 0.04 && deviation < 0.105, true, `deviation ${deviation}`);
  }
  parameters.dispose();
});
