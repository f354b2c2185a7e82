/**
 * What is computed on paper against what a training step takes: at the published sizes on a device that counts and computes
 * nothing, with the memory pool of the real ones.
 */
import { assert } from "@std/assert";
import type { WeightStorage } from "@medvlm/core";
import { parameterBytes, Parameters, type ParameterSpec } from "@medvlm/core/nn";
import { differentiate, empty, type Tensor, Weight } from "@medvlm/core/tensor";
import { AdamW, totalBytes, type TrainingMemory, trainsWhole } from "@medvlm/core/train";
import { CountingDevice } from "../../core/device/counting_testing.ts";
import { denseConfig } from "./assembly.ts";
import { type MedplibConfig, presets } from "./config.ts";
import { medplibParameters } from "./params.ts";
import { imagePlaceholder } from "./prompt.ts";
import { type MedplibStage, stageOf } from "./stages.ts";
import { StageTraining } from "./training.ts";
import { trainingBatch } from "./training_batch.ts";
import { learnsMasks, stageMemory } from "./training_memory.ts";
import type { TrainingSample } from "./training_sample.ts";

/** Parameters without values. */
function emptyParameters(
  device: CountingDevice,
  specs: readonly ParameterSpec[],
  dtype: WeightStorage,
  float: (name: string) => boolean,
): Parameters {
  return new Parameters(
    device,
    specs,
    new Map(specs.map((spec): [string, Tensor | Weight] => {
      const { name, shape, keep } = spec;
      if (keep === "tensor") return [name, empty(device, shape)];
      const rows = shape[0]!, columns = shape.slice(1).reduce((product, n) => product * n, 1);
      const storage = float(name) || keep === "float" || dtype === "f32"
        ? "f32"
        : keep === "half"
        ? "f16"
        : dtype;
      const buffer = device.allocate(parameterBytes([spec], dtype, float), "weight");
      return [name, new Weight(device, rows, columns, storage, [{ buffer, firstRow: 0, rows }])];
    })),
  );
}

/** A conversation of so many tokens after a picture, the second half of it answers. */
function conversation(config: MedplibConfig, tokens: number, masked: boolean): TrainingSample {
  const seg = 31;
  const ids = [1, imagePlaceholder, ...new Array<number>(tokens - 2).fill(5)];
  if (masked) ids[tokens - 2] = seg;
  const { imageSize } = config.clip, side = config.sam.imageSize;
  return {
    ids,
    labels: ids.map((id, i) => i < tokens / 2 ? -100 : id),
    clipPixels: new Float32Array(3 * imageSize ** 2),
    ...(masked
      ? {
        samPixels: new Float32Array(3 * side ** 2),
        resized: { width: side, height: side },
        masks: [{ width: 512, height: 512, data: new Uint8Array(512 ** 2) }],
      }
      : { masks: [] }),
  };
}

/** Peak of one step of training, and the same on paper. */
function measured(
  config: MedplibConfig,
  stage: MedplibStage,
  { dtype, recompute, batch = 1, tokens }: {
    dtype: WeightStorage;
    recompute: boolean;
    batch?: number;
    tokens: number;
  },
): { peak: number; paper: TrainingMemory } {
  const device = new CountingDevice();
  const specs = medplibParameters(config);
  const parameters = emptyParameters(device, specs, dtype, (name) => trainsWhole(stage, name));
  const cells = (config.sam.imageSize / config.sam.patchSize) ** 2;
  const positions = empty(device, [cells, config.samDecoder.width]);
  using training = new StageTraining(parameters, config, stage, positions, { seed: 1, recompute });
  const sample = conversation(config, tokens, learnsMasks(stage));
  const taught = trainingBatch(new Array<TrainingSample>(batch).fill(sample), config, {
    seg: 31,
    pad: 0,
  });
  using optimiser = new AdamW(device, [{ parameters: training.trained.trained }], { maxNorm: 1 });
  {
    using _scope = device.scope();
    const { gradients } = differentiate(
      device,
      optimiser.leaves,
      () => training.loss(taught, 0, 0).total,
    );
    optimiser.step(gradients, 1e-4);
  }
  const paper = stageMemory(config, stage, { dtype, batch, rows: taught.length, recompute });
  return { peak: device.memory.peak, paper };
}

Deno.test("at the published sizes adapters over a frozen q4 model take at most 1.6 times its weights and activations", () => {
  const config = denseConfig(presets.paper);
  for (const [name, tokens] of [["grounding", 128], ["grounding", 2048]] as const) {
    const { peak, paper } = measured(config, stageOf(name), {
      dtype: "q4",
      recompute: true,
      tokens,
    });
    const share = peak / (paper.frozen + paper.activations);
    assert(share > 1 && share <= 1.6, `${name}, ${tokens} tokens: ${share}`);
  }
});

Deno.test("the plan of a stage is near what a step takes, whatever is kept how", () => {
  const dense = denseConfig(presets.paper), { small } = presets;
  // Small buffers are rounded up by more, and fewer of them fit where others were.
  const cases = [
    [dense, "alignment", { dtype: "f16", recompute: true, tokens: 512 }, 1.15],
    [dense, "recognition", { dtype: "q8", recompute: true, tokens: 512, batch: 2 }, 1.15],
    [dense, "grounding", { dtype: "q4", recompute: false, tokens: 128, batch: 2 }, 1.15],
    [presets.paper, "experts", { dtype: "q4", recompute: true, tokens: 512, batch: 4 }, 1.15],
    [
      denseConfig(small),
      "grounding",
      { dtype: "f32", recompute: false, tokens: 64, batch: 8 },
      1.5,
    ],
    [small, "experts", { dtype: "f32", recompute: false, tokens: 64, batch: 8 }, 1.5],
    [denseConfig(small), "recognition", { dtype: "f32", recompute: true, tokens: 64 }, 1.5],
  ] as const;
  for (const [config, name, load, most] of cases) {
    const { peak, paper } = measured(config, stageOf(name), load);
    const share = peak / totalBytes(paper);
    assert(
      share > 0.95 && share <= most,
      `${name}, ${load.dtype}, ${load.tokens} tokens: ${share}`,
    );
  }
});
