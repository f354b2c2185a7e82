import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { loraConfig, type LoraSettings, memoryFolder, openAdapter } from "../checkpoint/mod.ts";
import type { Device } from "../device/mod.ts";
import { HostDevice } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import { openFolder } from "../files.ts";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { multiply } from "../tensor/elementwise.ts";
import { sumRows } from "../tensor/reduction.ts";
import { checkpoint, differentiate } from "../tensor/tape.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { Adapter } from "./adapter.ts";
import { AdapterSet } from "./adapters.ts";
import { lookup, projection } from "./layers.ts";
import { initialParameters, type ParameterSpec } from "./parameters.ts";
import { specMaker } from "./specs.ts";

const { matrix, norm, tensor: plain } = specMaker("", "F32");
const specs: ParameterSpec[] = [
  matrix("model.embed_tokens", 11, 6, "matrix"),
  matrix("model.layers.0.q_proj", 9, 6, "matrix"),
  matrix("model.layers.1.q_proj", 9, 6, "matrix"),
  matrix("model.layers.0.o_proj", 6, 9, "matrix"),
  ...norm("model.norm", 6),
  plain("model.conv.weight", [4, 3, 2, 2]),
  matrix("lm_head", 11, 6, "matrix"),
];
const model = (device: Device, dtype: "f32" | "q8" = "f32") =>
  initialParameters(device, specs, 3, { dtype });

const config = (settings: Partial<LoraSettings> = {}) =>
  loraConfig({ r: 3, loraAlpha: 6, targetModules: ["q_proj", "embed_tokens"], ...settings });

/** A fresh adapter whose zero factors have values too, so that it acts. */
function acting(device: Device, settings: Partial<LoraSettings>, seed: number): Adapter {
  const adapter = Adapter.init(device, specs, config(settings), seed);
  for (const { b } of adapter.modules.values()) b.write(normals(b.size, seed));
  return adapter;
}

/** scale * b a in double precision. */
async function update(adapter: Adapter, module: string): Promise<Float64Array> {
  const { a, b, scale } = adapter.modules.get(module)!;
  const [rank, columns] = a.shape as [number, number];
  const left = await b.readFloats(), right = await a.readFloats();
  return Float64Array.from({ length: b.shape[0]! * columns }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < rank; j++) {
      sum += left[Math.floor(i / columns) * rank + j]! * right[j * columns + i % columns]!;
    }
    return scale * sum;
  });
}

Deno.test("a fresh adapter is seeded by module, bounded, and changes nothing", async () => {
  await using device = new HostDevice();
  using adapter = Adapter.init(device, specs, config(), 5);
  assertEquals([...adapter.modules.keys()], [
    "model.embed_tokens",
    "model.layers.0.q_proj",
    "model.layers.1.q_proj",
  ]);
  const factors = async (one: Adapter, module: string) => {
    const { a, b, scale, embedding } = one.modules.get(module)!;
    return { a: await a.readFloats(), b: await b.readFloats(), scale, embedding };
  };
  const first = await factors(adapter, "model.layers.0.q_proj");
  assert(first.a.length === 18 && first.a.every((value) => Math.abs(value) < 1 / Math.sqrt(6)));
  assert(first.a.some((value) => Math.abs(value) > 0.5 / Math.sqrt(6)));
  assertEquals([first.b, first.scale, first.embedding], [new Float32Array(27), 2, false]);
  assertNotEquals((await factors(adapter, "model.layers.1.q_proj")).a, first.a);
  const table = await factors(adapter, "model.embed_tokens");
  assert(table.embedding && table.a.some((value) => Math.abs(value) > 1));
  assertEquals(table.b, new Float32Array(33));
  using again = Adapter.init(device, specs, config(), 5);
  assertEquals(await factors(again, "model.embed_tokens"), table);
  using other = Adapter.init(
    device,
    specs,
    config({ extra: { init_lora_weights: "gaussian" } }),
    6,
  );
  assertNotEquals((await factors(other, "model.layers.0.q_proj")).a, first.a);
  assertEquals(adapter.parameters().map(({ name }) => name).slice(0, 4), [
    "base_model.model.model.embed_tokens.lora_embedding_A.default",
    "base_model.model.model.embed_tokens.lora_embedding_B.default",
    "base_model.model.model.layers.0.q_proj.lora_A.default.weight",
    "base_model.model.model.layers.0.q_proj.lora_B.default.weight",
  ]);
});

Deno.test("targets without a matrix and other initialisations are refused", async () => {
  await using device = new HostDevice();
  const init = (settings: Partial<LoraSettings>) => () =>
    Adapter.init(device, specs, config(settings), 1);
  assertThrows(init({ targetModules: ["norm"] }), InputError, 'Cannot adapt "model.norm"');
  assertThrows(init({ targetModules: ".*conv" }), InputError, 'Cannot adapt "model.conv"');
  assertThrows(init({ targetModules: ["k_proj"] }), InputError, "no module matches");
  assertThrows(init({ extra: { init_lora_weights: "pissa" } }), InputError, "pissa");
  using all = Adapter.init(device, specs, config({ targetModules: "all-linear" }), 1);
  assertEquals([...all.modules.keys()], [
    "model.layers.0.q_proj",
    "model.layers.1.q_proj",
    "model.layers.0.o_proj",
  ]);
});

deviceTest("several adapters act at once, merged or beside the weights", async (device) => {
  using _scope = device.scope();
  const parameters = await model(device);
  const set = new AdapterSet(parameters);
  set.add("one", acting(device, { loraDropout: 0.5 }, 1));
  set.add("two", acting(device, { useRslora: true, r: 5, targetModules: ".*(0\\.q_proj|s)" }, 2));
  const q = "model.layers.0.q_proj", table = "model.embed_tokens";
  const x = normals(4 * 6, 9), input = tensor(device, x, [4, 6]);
  const index = Uint32Array.of(3, 10, 0, 3, 77);
  const original = await parameters.weight(`${q}.weight`).readFloats();
  const originalTable = await parameters.weight(`${table}.weight`).readFloats();
  const check = async (names: readonly string[], what: string) => {
    const matrix = Float64Array.from(original), rows = Float64Array.from(originalTable);
    for (const name of names) {
      const [forQ, forTable] = await Promise.all([
        update(set.get(name), q),
        update(set.get(name), table),
      ]);
      forQ.forEach((value, i) => matrix[i]! += value);
      forTable.forEach((value, i) => rows[i]! += value);
    }
    const expected = Float64Array.from({ length: 4 * 9 }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < 6; k++) sum += x[Math.floor(i / 9) * 6 + k]! * matrix[i % 9 * 6 + k]!;
      return sum;
    });
    const p = parameters.at("model.");
    const y = projection(p.at("layers.0."), "q_proj", input);
    assertCloseTo(await y.readFloats(), expected, { atol: 1e-5, what: `${what} product` });
    const found = lookup(p, "embed_tokens", tensor(device, index));
    const expectedRows = [...index].flatMap((row) =>
      row < 11 ? [...rows.subarray(6 * row, 6 * row + 6)] : new Array(6).fill(0)
    );
    assertCloseTo(await found.readFloats(), expectedRows, { atol: 1e-5, what: `${what} rows` });
  };
  await check(["one", "two"], "both");
  set.activate(["two"]);
  await check(["two"], "one of two");
  set.merge();
  await check(["two"], "merged");
  assertThrows(() => set.activate(["one"]), TypeError, "while it is merged");
  set.activate(["one", "two"]);
  await check(["one", "two"], "one merged, one beside");
  set.merge();
  await check(["one", "two"], "both merged");
  set.unmerge();
  await check(["one", "two"], "unmerged");
  assertCloseTo(await parameters.weight(`${q}.weight`).readFloats(), original, { atol: 1e-6 });
  set[Symbol.dispose]();
  assertEquals(parameters.adaptersOf(`${q}.weight`), []);
  parameters.dispose();
});

deviceTest(
  "dropout acts in training alone, anew with every step and the same when recomputed",
  async (device) => {
    using _scope = device.scope();
    const parameters = await model(device);
    using set = new AdapterSet(parameters, 12);
    set.add("default", acting(device, { loraDropout: 0.4, targetModules: ["q_proj"] }, 1));
    const leaves = set.get("default").parameters().map(({ value }) => value);
    const input = tensor(device, normals(7 * 6, 3), [7, 6]);
    const q = parameters.at("model.layers.0.");
    const block = (x: Tensor) => projection(q, "q_proj", x);
    const train = async (step: number, part: number, recompute: boolean) => {
      set.dropFor(step, part);
      const { value, gradients } = differentiate(device, leaves, () => {
        const [y] = recompute ? checkpoint([input], (x) => [block(x!)]) : [block(input)];
        return sumRows(multiply(y!, y!).reshape(-1, 1));
      });
      const floats = await Promise.all(gradients.map((gradient) => gradient?.readFloats()));
      return [...await value.readFloats(), ...floats];
    };
    const first = await train(0, 0, false);
    assertEquals(first[3], undefined);
    assertEquals(await train(0, 0, true), first);
    assertNotEquals(await train(1, 0, false), first);
    assertNotEquals(await train(0, 1, false), first);
    assertEquals(await train(0, 0, false), first);
    const dropped = await block(input).readFloats();
    set.dropNothing();
    const whole = await block(input).readFloats();
    assertNotEquals(dropped, whole);
    const { value, gradients } = differentiate(device, leaves, () => {
      const y = block(input);
      return sumRows(multiply(y, y).reshape(-1, 1));
    });
    const expected = whole.reduce((sum, entry) => sum + entry ** 2, 0);
    assertCloseTo(await value.readFloats(), [expected], { rtol: 1e-5 });
    assertEquals(gradients.filter((gradient) => gradient !== undefined).length, 2);
    parameters.dispose();
  },
);

deviceTest("an adapter saved in peft's layout is the same when opened again", async (device) => {
  using _scope = device.scope();
  const parameters = await model(device);
  const adapter = acting(device, {
    targetModules: ["o_proj", "embed_tokens"],
    modulesToSave: ["norm", "lm_head"],
    useRslora: true,
    loraDropout: 0.05,
  }, 4);
  for (const format of ["safetensors", "bin"] as const) {
    const folder = memoryFolder("adapter");
    await adapter.save(folder, { parameters, format });
    using opened = await openAdapter(folder);
    assertEquals([...opened.saved.keys()], [
      "model.norm.weight",
      "model.norm.bias",
      "lm_head.weight",
    ]);
    assertEquals(opened.modules.map(({ a, b }) => [a.shape, b.shape]), [
      [[3, 11], [6, 3]],
      [[3, 9], [6, 3]],
    ]);
    const back = await Adapter.load(device, opened);
    assertEquals(back.config.loraDropout, 0.05);
    for (const [module, { a, b, scale, embedding }] of adapter.modules) {
      const other = back.modules.get(module)!;
      assertEquals([other.scale, other.embedding], [scale, embedding]);
      assertEquals(await other.a.readFloats(), await a.readFloats());
      assertEquals(await other.b.readFloats(), await b.readFloats());
    }
  }
  parameters.dispose();
});

deviceTest("adapters of peft are written as they were read", async (device) => {
  const golden = new URL("../../tests/golden/training/lora/", import.meta.url).pathname;
  for (const name of ["regex_target_embedding", "rslora_r4_a8", "minigpt_like_r8_a2_peft_0.2.0"]) {
    using opened = await openAdapter(await openFolder(golden + name));
    using adapter = await Adapter.load(device, opened);
    const folder = memoryFolder("copy");
    await adapter.save(folder);
    using copy = await openAdapter(folder);
    for (const [i, { module, a, b, scaling }] of opened.modules.entries()) {
      const again = copy.modules[i]!;
      assertEquals([again.module, again.scaling, again.a.name], [module, scaling, a.name]);
      assertEquals(await again.a.read(), await a.read());
      assertEquals(await again.b.read(), await b.read());
    }
  }
});

Deno.test("adapters that do not fit, and merging into narrow weights, are refused", async () => {
  await using device = new HostDevice();
  const parameters = await model(device, "q8");
  using set = new AdapterSet(parameters);
  set.add("a", acting(device, { targetModules: ["o_proj"] }, 1));
  assertThrows(() => set.merge(), InputError, '"model.layers.0.o_proj" is kept as q8');
  using more = acting(device, { targetModules: ["o_proj"] }, 1);
  assertThrows(() => set.add("a", more), InputError, "one of this name");
  assertThrows(() => set.get("b"), TypeError, '"b"');
  const term = more.modules.get("model.layers.0.o_proj")!;
  const wrong = new Adapter(
    config(),
    new Map([["lm_head", term], ["model.norm", term], ["x", term]]),
  );
  const error = assertThrows(() => set.add("w", wrong), InputError);
  assertEquals(
    error.message,
    'Cannot add adapter "w": lm_head is [11, 6], the adapter is for [6, 9]; model.norm is no matrix of the model; x is no matrix of the model',
  );
  await assertRejects(
    () => acting(device, { modulesToSave: ["lm_head"] }, 1).save(memoryFolder("x"), { parameters }),
    InputError,
    "lm_head",
  );
});
