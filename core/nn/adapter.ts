/**
 * A low-rank adapter on a device (LoRA, arXiv:2106.09685; rsLoRA, arXiv:2312.03732): made by peft's rules for a table of
 * parameters, read from and written to peft's folders.
 *
 * @module
 */
import {
  type FolderWriter,
  isSavedModule,
  type LoraAdapter,
  type LoraConfig,
  type LoraModule,
  moduleScaling,
  saveAdapter,
  targetModules,
  type TensorEntry,
  toFloat32,
} from "../checkpoint/mod.ts";
import type { Device } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import type { LoraTerm } from "../tensor/linear.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { deviceEntry } from "./device_tensors.ts";
import { type Initialiser, initialValues } from "./initialise.ts";
import type { Parameters, ParameterSpec } from "./parameters.ts";

/**
 * The update of one matrix [rows, columns], scale * b a, with a [rank, columns] and b [rows, rank].
 *
 * For a linear layer these are peft's A and B. A table of embeddings is looked up by row, so that peft's A (rank, rows) is b
 * transposed and its B (columns, rank) is a transposed.
 */
export interface AdapterModule extends LoraTerm {
  /** Whether the matrix is a table of embeddings. */
  readonly embedding: boolean;
}

/** What is known of a model's modules beyond its table of parameters. */
export interface AdapterOptions {
  /** Whether a module is a table of embeddings. Default: its name ends in `embed_tokens`. */
  readonly embeddings?: (module: string) => boolean;
  /** Output layer, which `all-linear` leaves out. Default `lm_head`. */
  readonly output?: string;
}

/** The factors of an adapter. */
export class Adapter implements Disposable {
  /** Ranks, scaling, dropout and targets. */
  readonly config: LoraConfig;
  /** The adapted matrices by module name, such as `model.layers.0.self_attn.q_proj`. */
  readonly modules: ReadonlyMap<string, AdapterModule>;

  /** Takes over factors. Usually made by {@linkcode Adapter.init} or {@linkcode Adapter.load}. */
  constructor(config: LoraConfig, modules: ReadonlyMap<string, AdapterModule>) {
    this.config = config;
    this.modules = modules;
  }

  /**
   * A fresh adapter, which changes nothing yet: A is Kaiming uniform (a = sqrt 5) and B zero, for embeddings A zero and B
   * normal; normal with deviation 1 / rank for A where the configuration says `gaussian`. Values depend on the seed and the
   * module's name alone.
   *
   * @throws {InputError} code `INVALID_ADAPTER` when no module matches or the initialisation is another one,
   * `NOT_ADAPTABLE` when a module that matches has no matrix.
   */
  static init(
    device: Device,
    specs: readonly ParameterSpec[],
    config: LoraConfig,
    seed: number,
    options: AdapterOptions = {},
  ): Adapter {
    const { embeddings = (module) => /(?:^|\.)embed_tokens$/.test(module), output = "lm_head" } =
      options;
    const style = config.extra.init_lora_weights ?? true;
    if (style !== true && style !== "gaussian") {
      throw new InputError(
        "INVALID_ADAPTER",
        `Cannot start an adapter with init_lora_weights ${
          JSON.stringify(style)
        }: expected true or "gaussian"`,
      );
    }
    const weights = new Map(
      specs.filter(({ name }) => name.endsWith(".weight")).map((spec) => [
        spec.name.slice(0, -".weight".length),
        spec,
      ]),
    );
    const isMatrix = ({ shape, keep }: ParameterSpec) => shape.length === 2 && keep !== "tensor";
    const linear = [...weights].filter(([module, spec]) => isMatrix(spec) && !embeddings(module))
      .map(([module]) => module);
    const modules = new Map<string, AdapterModule>();
    for (const module of targetModules(config, weights.keys(), { linear, output })) {
      const spec = weights.get(module)!;
      if (!isMatrix(spec)) {
        throw new InputError(
          "NOT_ADAPTABLE",
          `Cannot adapt "${module}": its weight is no matrix of a linear layer; change target_modules`,
        );
      }
      const [rows, columns] = spec.shape as [number, number];
      const { rank, scaling } = moduleScaling(config, module);
      const embedding = embeddings(module);
      const init: Initialiser = embedding
        ? { kind: "normal", std: 1 }
        : style === "gaussian"
        ? { kind: "normal", std: 1 / rank }
        : { kind: "uniform", bound: 1 / Math.sqrt(columns) };
      const name = `${module}.lora_${embedding ? "embedding_B" : "A"}`;
      const shape = [rank, columns];
      const values = initialValues(
        { name, shape, keep: "tensor", stored: "F32", init },
        seed,
        0,
        rank,
      );
      modules.set(module, {
        a: tensor(device, values, shape),
        b: tensor(device, new Float32Array(rows * rank), [rows, rank]),
        scale: scaling,
        embedding,
      });
    }
    return new Adapter(config, modules);
  }

  /** Places an adapter that was read, from a folder (`openAdapter`) or a training checkpoint (`collectLora`). */
  static async load(device: Device, { config, modules }: LoraAdapter): Promise<Adapter> {
    const placed = new Map<string, AdapterModule>();
    for (const { module, embedding, a, b, scaling } of modules) {
      const [first, second] = embedding ? [b, a] : [a, b];
      placed.set(module, {
        a: await place(device, first, embedding),
        b: await place(device, second, embedding),
        scale: scaling,
        embedding,
      });
    }
    return new Adapter(config, placed);
  }

  /**
   * The factors under peft's names in a training checkpoint, for an optimiser.
   *
   * @param name Name of the adapter.
   */
  parameters(name = "default"): { name: string; value: Tensor }[] {
    return [...this.modules].flatMap(([module, { a, b, embedding }]) => {
      const names = ["A", "B"].map((letter) =>
        `base_model.model.${module}.` +
        (embedding ? `lora_embedding_${letter}.${name}` : `lora_${letter}.${name}.weight`)
      );
      const values = embedding ? [b, a] : [a, b];
      return names.map((text, i) => ({ name: text, value: values[i]! }));
    });
  }

  /** The factors in peft's layout. They are read from the device when they are written out. */
  entries(): LoraModule[] {
    return [...this.modules].map(([module, { a, b, embedding, scale }]) => ({
      module,
      embedding,
      a: entryOf(embedding ? b : a, embedding),
      b: entryOf(embedding ? a : b, embedding),
      scaling: scale,
    }));
  }

  /**
   * Writes the adapter as peft does, with the modules that were trained in full.
   *
   * @param parameters The model, where the configuration has `modules_to_save`.
   * @returns the names of the files.
   * @throws {InputError} code `NOT_LOSSLESS` when a parameter to save is kept in a narrow dtype.
   */
  async save(
    folder: FolderWriter,
    { parameters, format = "safetensors" }: {
      parameters?: Parameters;
      format?: "safetensors" | "bin";
    } = {},
  ): Promise<string[]> {
    const saved = new Map<string, TensorEntry>();
    if (parameters !== undefined) {
      const names = new Set(savedParameters(this.config, parameters.specs));
      for (const entry of parameters.entries(names)) saved.set(entry.name, entry);
    }
    return await saveAdapter(
      folder,
      { config: this.config, modules: this.entries(), saved },
      format,
    );
  }

  /** Releases the factors. */
  [Symbol.dispose](): void {
    for (const { a, b } of this.modules.values()) {
      a.dispose();
      b.dispose();
    }
  }
}

/** Names of the parameters that a configuration trains in full (`modules_to_save`): all below a module that it names. */
export function savedParameters(config: LoraConfig, specs: readonly ParameterSpec[]): string[] {
  return specs.map(({ name }) => name).filter((name) => {
    const path = name.split(".");
    return path.some((_, end) => end > 0 && isSavedModule(config, path.slice(0, end).join(".")));
  });
}

async function place(device: Device, entry: TensorEntry, transposed: boolean): Promise<Tensor> {
  const values = toFloat32(await entry.read(), entry.dtype);
  const [rows, columns] = entry.shape as [number, number];
  if (!transposed) return tensor(device, values, [rows, columns]);
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      turned[column * rows + row] = values[row * columns + column]!;
    }
  }
  return tensor(device, turned, [columns, rows]);
}

/** A factor as a checkpoint holds it; its name is chosen when it is written. */
function entryOf({ device, shape, buffer, size }: Tensor, transposed: boolean): TensorEntry {
  const [rows, columns] = shape as [number, number];
  const layout = transposed
    ? { name: "factor", shape: [columns, rows], stride: [1, columns] }
    : { name: "factor", shape: [rows, columns] };
  return deviceEntry(device, layout, [{ buffer, count: size }]);
}
