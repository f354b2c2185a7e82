/**
 * A model after training, at the precision of the files it came from: frozen matrices may be narrow on the device and are
 * taken from the files again, with the updates of adapters added.
 *
 * @module
 */
import {
  type CheckpointSource,
  fromFloat32,
  type TensorEntry,
  toFloat32,
} from "../checkpoint/mod.ts";
import { addLora } from "../tensor/lora.ts";
import { weight } from "../tensor/weight.ts";
import type { Adapter, AdapterModule } from "./adapter.ts";
import { deferredTensor, type Parameters, type ParameterSpec } from "./parameters.ts";

/** What became of a model. */
export interface Trained {
  /** The checkpoint that the model was loaded from. */
  readonly source: CheckpointSource;
  /** Whether a parameter was trained itself; it is f32 on the device then. */
  readonly changed: (name: string) => boolean;
  /** Updates of other matrices. Default: none. */
  readonly adapter?: Adapter | undefined;
}

/**
 * All parameters as they are stored after training. What was not trained goes from the source to the target byte by byte;
 * adapted matrices pass through the device one at a time. Everything is read when it is written out.
 */
export function* trainedEntries(
  parameters: Parameters,
  { source, changed, adapter }: Trained,
): Generator<TensorEntry> {
  for (const spec of parameters.specs) {
    const { name } = spec;
    const module = name.endsWith(".weight") ? name.slice(0, -".weight".length) : undefined;
    const update = module === undefined ? undefined : adapter?.modules.get(module);
    const entry = source.get(name);
    const own = changed(name) || entry === undefined;
    if (!own && update === undefined) {
      yield entry;
      continue;
    }
    const base = own
      ? () => parameters.value(name).readFloats()
      : async () => toFloat32(await entry.read(), entry.dtype);
    yield deferredTensor(spec, async () => {
      const values = await base();
      return fromFloat32(
        update === undefined ? values : await merged(parameters, spec, values, update),
        spec.stored,
      );
    });
  }
}

/** A matrix with its update, added on the device in f32. */
async function merged(
  { device }: Parameters,
  { shape }: ParameterSpec,
  values: Float32Array,
  update: AdapterModule,
): Promise<Float32Array<ArrayBuffer>> {
  const [rows, columns] = shape as [number, number];
  const whole = weight(device, values, rows, columns);
  try {
    addLora(whole, [update]);
    return await whole.readFloats();
  } finally {
    whole.dispose();
  }
}
