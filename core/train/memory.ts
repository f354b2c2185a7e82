/**
 * Device memory of training, computed on paper from shapes: what a stage holds before its first step is made.
 *
 * @module
 */
import { type LlamaConfig, llamaHeadSize } from "../nn/llama.ts";
import { parameterBytes, type ParameterSpec, type WeightStorage } from "../nn/parameters.ts";
import type { Stage } from "./stage.ts";
import { adaptedModules, trainsWhole } from "./stage_parameters.ts";

/** Bytes on a device while a stage is trained. */
export interface TrainingMemory {
  /** Weights that stay as they are. */
  readonly frozen: number;
  /** Trained weights, adapters included, f32. */
  readonly trained: number;
  /** Their gradients; those of accumulated batches are added up beside them. */
  readonly gradients: number;
  /** AdamW's two moments. */
  readonly moments: number;
  /** What the way forward keeps for the way back, and what lies inside a block that is computed at the moment. */
  readonly activations: number;
  /** Gradients inside the block that is computed at the moment, and weights that are unpacked for it. */
  readonly working: number;
}

/** Bytes of everything together. */
export function totalBytes(memory: TrainingMemory): number {
  return Object.values(memory).reduce((sum, bytes) => sum + bytes, 0);
}

/** Bytes of the weights of a stage: frozen ones in `dtype`, what is trained in f32. */
export function stageWeightBytes(
  specs: readonly ParameterSpec[],
  stage: Stage,
  dtype: WeightStorage,
): Pick<TrainingMemory, "frozen" | "trained" | "gradients" | "moments"> {
  const whole = specs.filter(({ name }) => trainsWhole(stage, name));
  const others = specs.filter(({ name }) => !trainsWhole(stage, name));
  const adapted = new Set(stage.adapters && adaptedModules(stage.adapters, specs));
  const factors = specs.reduce(
    (sum, { name, shape: [rows = 1, columns = 1] }) =>
      adapted.has(name.replace(/\.weight$/, ""))
        ? sum + 4 * stage.adapters!.rank * (rows + columns)
        : sum,
    0,
  );
  const trained = parameterBytes(whole, "f32") + factors;
  return {
    frozen: parameterBytes(others, dtype),
    trained,
    gradients: trained,
    moments: 2 * trained,
  };
}

/** A decoder at work. */
export interface LlamaLoad {
  /** Rows of all samples together, padding included. */
  readonly rows: number;
  /** Rows whose next token is predicted. */
  readonly targets: number;
  /** Layers are computed again on the way back. */
  readonly recompute: boolean;
  /** Rows inside a feed-forward layer per row outside: the capacity factor of a mixture of experts. Default 1. */
  readonly inside?: number;
}

/** Most floats of a frozen weight that are unpacked at a time on the way back. */
const unpackedFloats = 2 ** 23;

/**
 * Bytes that a LLaMA decoder with adapters keeps for the way back, and those that it works with.
 *
 * A layer keeps of every row: its input, both norms, attention's output and the sum behind it, rotated queries and keys,
 * values (6 H + 2 K with H the width and K that of the keys), and in the feed-forward part gate, up and their product (3 I).
 * With recomputation only the input of every layer stays, and one layer at a time has the rest.
 */
export function llamaActivationBytes(
  config: LlamaConfig,
  { rows, targets, recompute, inside = 1 }: LlamaLoad,
): Pick<TrainingMemory, "activations" | "working"> {
  const { hiddenSize, intermediateSize, layers, vocabulary } = config;
  const keys = config.keyHeads * llamaHeadSize(config);
  const layer = 6 * hiddenSize + 2 * keys + 3 * inside * intermediateSize +
    (inside === 1 ? 0 : 2 * inside * hiddenSize);
  const kept = recompute ? layers * hiddenSize + layer : layers * layer;
  // The gradient of a layer's result, and those inside the feed-forward part, its widest.
  const inFlight = 2 * hiddenSize + 3 * inside * intermediateSize;
  return {
    activations: 4 * (rows * (kept + hiddenSize) + targets * vocabulary),
    working: 4 *
      (rows * inFlight + targets * vocabulary +
        Math.min(unpackedFloats, hiddenSize * intermediateSize)),
  };
}
