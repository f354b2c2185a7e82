/**
 * Reference cases of low-rank adapters: a small language model with adapters of peft.
 *
 * @module
 */
import { openFolder, readAll } from "@medvlm/core";
import {
  formatLoraConfig,
  type LoraAdapter,
  memoryFolder,
  openAdapter,
  openCheckpoint,
  parsePeftName,
  withSavedTensors,
} from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import {
  Adapter,
  AdapterSet,
  linearLayer,
  loadParameters,
  lookup,
  normLayer,
  type Parameters,
  type ParameterSpec,
  projection,
} from "@medvlm/core/nn";
import {
  add,
  crossEntropy,
  type Differentiable,
  differentiate,
  multiply,
  type Tensor,
  tensor,
  unary,
} from "@medvlm/core/tensor";
import { AdamW, decayGroups } from "@medvlm/core/train";
import { caseJson, CaseTensors } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";

/** A base model with one adapter. */
interface Adapted extends Disposable {
  readonly parameters: Parameters;
  readonly set: AdapterSet;
  readonly adapter: Adapter;
}

async function open(device: Device, root: string, folder: string): Promise<Adapted> {
  const base = await openCheckpoint(`${root}/base.safetensors`);
  const opened = await openAdapter(await openFolder(folder));
  using source = withSavedTensors(base, opened);
  const specs: ParameterSpec[] = [...source.entries()].filter(({ name }) => !name.startsWith("_"))
    .map(({ name, shape }) => ({
      name,
      shape,
      keep: shape.length === 2 ? "float" : "tensor",
      stored: "F32",
      init: { kind: "zeros" },
    }));
  const parameters = await loadParameters(device, specs, source, { ignore: [/^_/] });
  const set = new AdapterSet(parameters);
  const adapter = await Adapter.load(device, opened);
  set.add("default", adapter);
  return {
    parameters,
    set,
    adapter,
    [Symbol.dispose]() {
      set[Symbol.dispose]();
      parameters.dispose();
    },
  };
}

/** The model of the cases: pre-norm layers that mix by elementwise products, see `toy_forward` in `case.json`. */
function logitsOf(parameters: Parameters, ids: Tensor): Tensor {
  const p = parameters.at("");
  let x = lookup(p, "model.embed_tokens", ids);
  for (let n = 0; p.has(`model.layers.${n}.input_layernorm.weight`); n++) {
    const layer = p.at(`model.layers.${n}.`), attend = layer.at("self_attn.");
    const h = normLayer(layer, "input_layernorm", x, 1e-5);
    const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((name) => projection(attend, name, h));
    const mixed = add(multiply(unary("tanh", q!), k!), v!);
    x = add(x, linearLayer(attend, "o_proj", mixed));
  }
  return projection(p, "lm_head", x);
}

/** A parameter under its name in a peft model, and whether its memory holds it transposed. */
function trainedValue(
  { parameters, adapter }: Adapted,
  peftName: string,
): { value: Differentiable; transposed: boolean } {
  const { kind, name } = parsePeftName(peftName);
  if (kind === "saved" || kind === "base") {
    return { value: parameters.value(name), transposed: false };
  }
  const { a, b, embedding } = adapter.modules.get(name)!;
  return { value: kind.endsWith("A") === embedding ? b : a, transposed: embedding };
}

function transpose(values: Float32Array, [rows, columns]: readonly number[]): Float32Array {
  return values.map((_, i) => values[i % rows! * columns! + Math.floor(i / rows!)]!);
}

async function floatsOf(
  { value, transposed }: { value: Differentiable; transposed: boolean },
  shape: readonly number[],
): Promise<Float32Array> {
  const floats = await value.readFloats();
  // `shape` is that of the checkpoint, the memory's the other way round.
  return transposed ? transpose(floats, [...shape].reverse()) : floats;
}

interface Setting {
  readonly report: Report;
  readonly device: Device;
  readonly root: string;
  // deno-lint-ignore no-explicit-any
  readonly one: any;
  readonly expected: CaseTensors;
  readonly tolerance: Readonly<Record<string, number>>;
  readonly ids: Tensor;
  readonly labels: Tensor;
}

const within = (tolerance: number): Tolerance => ({ atol: tolerance, rtol: tolerance });

/** Logits, loss, gradients and three steps of AdamW. */
async function runTraining(setting: Setting): Promise<void> {
  const { report, device, root, one, expected, tolerance, ids, labels } = setting;
  using model = await open(device, root, `${root}/${one.name}`);
  const names: string[] = one.trainable;
  const trained = names.map((name) => trainedValue(model, name));
  const leaves = trained.map(({ value }) => value);
  let seen: Promise<Float32Array>;
  const measure = () =>
    differentiate(device, leaves, () => {
      const logits = logitsOf(model.parameters, ids);
      seen = logits.readFloats();
      return crossEntropy(logits.reshape(...labels.shape, -1), labels);
    });
  // Decoupled weight decay on everything, as the reference has it.
  using optimiser = new AdamW(
    device,
    decayGroups(names.map((name, i) => ({ name, value: leaves[i]! })), () => true, 0.05),
  );
  const losses: number[] = [];
  for (let step = 0; step < 3; step++) {
    using _scope = device.scope();
    const { value, gradients } = measure();
    losses.push(...await value.readFloats());
    if (step === 0) {
      const logits = await expected.floats("logits");
      report.close(`${one.name}/logits`, await seen!, logits, within(tolerance.logits!));
      report.close(`${one.name}/loss`, losses, await expected.floats("loss"), within(1e-5));
      for (const [i, name] of names.entries()) {
        const { shape, values } = await expected.get(`grad.${name}`);
        const gradient = { value: gradients[i]!, transposed: trained[i]!.transposed };
        const actual = await floatsOf(gradient, shape);
        report.close(`${one.name}/grad.${name}`, actual, values, within(tolerance.grad!));
      }
    }
    optimiser.step(gradients, 1e-2);
  }
  const close = within(tolerance.adamw3!);
  report.close(`${one.name}/losses`, losses, await expected.floats("adamw3_losses"), close);
  for (const [i, name] of names.entries()) {
    const { shape, values } = await expected.get(`adamw3.${name}`);
    report.close(`${one.name}/adamw3.${name}`, await floatsOf(trained[i]!, shape), values, close);
  }
}

/** Weights and logits with the adapter merged, and taken out again. */
async function runMerging(setting: Setting): Promise<void> {
  const { report, device, root, one, expected, tolerance, ids } = setting;
  using model = await open(device, root, `${root}/${one.name}`);
  const compareLogits = async (...names: string[]) => {
    using _scope = device.scope();
    const logits = await logitsOf(model.parameters, ids).readFloats();
    for (const name of names.filter((name) => expected.has(name))) {
      const values = await expected.floats(name);
      report.close(`${one.name}/${name}`, logits, values, within(tolerance.logits!));
    }
  };
  const compareWeights = async (prefix: string) => {
    for (const name of expected.names().filter((name) => name.startsWith(prefix))) {
      const plain = parsePeftName(name.slice(prefix.length)).name;
      const actual = await model.parameters.value(plain).readFloats();
      const close = within(tolerance.merged!);
      report.close(`${one.name}/${name}`, actual, await expected.floats(name), close);
    }
  };
  model.set.merge();
  await compareWeights("merged.");
  await compareWeights("merge_and_unload.");
  await compareLogits("logits_merged", "logits_merge_and_unload");
  model.set.unmerge();
  await compareLogits("logits_unmerged");
}

async function isFolder(path: string): Promise<boolean> {
  return await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false);
}

/** Compares names, shapes and bytes of the factors, in any order. */
async function compareFolder(
  report: Report,
  what: string,
  actual: LoraAdapter,
  expected: LoraAdapter,
): Promise<void> {
  const described = ({ modules }: LoraAdapter) =>
    modules.map(({ module, a, b }) => [module, a.name, a.shape, b.name, b.shape]).sort();
  report.exact(what, described(actual), described(expected));
  for (const { module, a, b } of expected.modules) {
    const other = actual.modules.find((one) => one.module === module);
    const bytes = await Promise.all([a, b, other?.a, other?.b].map((entry) => entry?.read()));
    const same = [0, 1].every((n) => String(bytes[n]) === String(bytes[n + 2]));
    report.holds(`${what}.${module}`, same, "its factors have other bytes");
  }
}

/** Adapter folders: scaling, both containers, and what is written again. */
async function runFolders({ report, device, root, one, expected }: Setting): Promise<void> {
  const folder = await openFolder(`${root}/${one.name}`);
  using opened = await openAdapter(folder);
  using adapter = await Adapter.load(device, opened);
  const scaling: [string, number][] = Object.entries(one.scaling).map(([name, value]) => [
    parsePeftName(name).name,
    typeof value === "number" ? value : (value as Record<string, number>).default!,
  ]);
  for (const [module, value] of scaling) {
    const actual = adapter.modules.get(module)?.scale ?? NaN;
    report.close(`${one.name}/scaling.${module}`, [actual], [value], within(1e-12));
  }
  for (const { name, value } of adapter.parameters()) {
    // Version 0.2 leaves the adapter's name out.
    const stored = [name, name.replace(".default", "")].map((text) => `full_state.${text}`)
      .find((text) => expected.has(text));
    const { shape, values } = await expected.get(stored ?? name);
    const transposed = name.includes("lora_embedding_");
    report.close(`${one.name}/${stored}`, await floatsOf({ value, transposed }, shape), values, {});
  }
  const written = memoryFolder("written");
  await adapter.save(written);
  using again = await openAdapter(written);
  await compareFolder(report, `${one.name}/written`, again, opened);
  const asBin = `${root}/${one.name}/as_bin`;
  if (await isFolder(asBin)) {
    using bin = await openAdapter(await openFolder(asBin));
    await compareFolder(report, `${one.name}/as_bin`, bin, opened);
  }
  const text = await readAll(`${root}/${one.name}/adapter_config.json`);
  const original = JSON.parse(new TextDecoder().decode(text));
  const config = JSON.parse(formatLoraConfig(opened.config));
  for (const [key, value] of Object.entries(original)) {
    report.exact(`${one.name}/adapter_config.${key}`, config[key], value);
  }
}

async function runLora(dir: string, report: Report, device: Device): Promise<void> {
  const { cases, tolerance } = await caseJson(`${dir}/case.json`);
  using base = await CaseTensors.open(`${dir}/base.safetensors`);
  const ids = await base.get("_ids"), labels = await base.get("_labels");
  for (const one of cases) {
    using _scope = device.scope();
    using expected = await CaseTensors.open(`${dir}/${one.name}/expected.safetensors`);
    const setting: Setting = {
      report,
      device,
      root: dir,
      one,
      expected,
      tolerance,
      ids: tensor(device, Int32Array.from(ids.values)),
      labels: tensor(device, Int32Array.from(labels.values), labels.shape),
    };
    await runTraining(setting);
    await runMerging(setting);
    await runFolders(setting);
  }
}

/** How each kind is compared. */
export const adapterKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = { lora: runLora };
