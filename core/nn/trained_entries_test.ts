import { assert, assertEquals } from "@std/assert";
import { loraConfig, toFloat32 } from "../checkpoint/mod.ts";
import { HostDevice } from "../device/mod.ts";
import { deviceTest, normals } from "../kernels/kernel_testing.ts";
import { Adapter } from "./adapter.ts";
import { initialSource } from "./initial_source.ts";
import {
  initialParameters,
  loadParameters,
  parameterBytes,
  type ParameterSpec,
} from "./parameters.ts";
import { trainedEntries } from "./trained_entries.ts";

const matrix = (name: string, stored: "F32" | "BF16" = "F32"): ParameterSpec => ({
  name: `${name}.weight`,
  shape: [37, 67],
  keep: "matrix",
  stored,
  init: { kind: "normal", std: 0.3 },
});
const specs: ParameterSpec[] = [
  matrix("frozen", "BF16"),
  matrix("adapted"),
  matrix("taught"),
  { name: "norm.weight", shape: [67], keep: "tensor", stored: "F32", init: { kind: "ones" } },
  {
    name: "buffer",
    shape: [3],
    keep: "tensor",
    stored: "F32",
    init: { kind: "computed", value: (i) => i / 2 },
    derived: true,
  },
];

Deno.test("random weights as a checkpoint are those that are made on the device", async () => {
  const device = new HostDevice();
  const plain = specs.filter(({ stored }) => stored === "F32");
  const made = await initialParameters(device, plain, 5);
  const source = initialSource("random", plain, 5);
  for (const { name } of plain) {
    const entry = source.get(name)!;
    assertEquals(toFloat32(await entry.read(), "F32"), await made.value(name).readFloats());
    assertEquals(
      await entry.readRows(1, 2),
      (await entry.read()).subarray(
        entry.byteLength / entry.shape[0]!,
        3 * entry.byteLength / entry.shape[0]!,
      ),
    );
  }
});

deviceTest(
  "a trained model is saved at the precision of its files, narrow as it is on the device",
  async (device) => {
    const source = initialSource("start", specs, 3);
    const float = (name: string) => name === "taught.weight";
    const parameters = await loadParameters(device, specs, source, { dtype: "q4", float });
    assertEquals(parameters.weight("taught.weight").dtype, "f32");
    assertEquals(parameters.weight("adapted.weight").dtype, "q4");
    assert(parameterBytes(specs, "q4", float) > parameterBytes(specs, "q4"));
    using adapter = Adapter.init(
      device,
      specs,
      loraConfig({ r: 3, loraAlpha: 6, targetModules: ["adapted"] }),
      1,
    );
    const { a, b, scale } = adapter.modules.get("adapted")!;
    b.write(normals(b.size, 7));
    parameters.weight("taught.weight").write(normals(37 * 67, 8));
    const saved = new Map(
      [...trainedEntries(parameters, { source, changed: float, adapter })]
        .map((entry) => [entry.name, entry]),
    );
    assertEquals([...saved.keys()], specs.map(({ name }) => name));
    for (const name of ["frozen.weight", "norm.weight", "buffer"]) {
      assertEquals(saved.get(name)!.dtype, source.get(name)!.dtype);
      assertEquals(await saved.get(name)!.read(), await source.get(name)!.read());
    }
    const floats = async (name: string) => toFloat32(await saved.get(name)!.read(), "F32");
    assertEquals(await floats("taught.weight"), normals(37 * 67, 8));
    const before = toFloat32(await source.get("adapted.weight")!.read(), "F32");
    const after = await floats("adapted.weight");
    const [first, second] = [await a.readFloats(), await b.readFloats()];
    before.forEach((value, i) => {
      const row = Math.floor(i / 67), column = i % 67;
      let update = 0;
      for (let k = 0; k < 3; k++) update += second[3 * row + k]! * first[67 * k + column]!;
      assert(Math.abs(after[i]! - value - scale * update) < 1e-5, `${i}`);
    });
    parameters.dispose();
  },
);
