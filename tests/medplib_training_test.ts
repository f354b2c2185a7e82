/**
 * The machinery of MedPLIB's stages, from phantoms to answers and masks: eight pictures are learned by heart.
 */
import { assert, assertEquals } from "@std/assert";
import { type Example, openDevice, type TrainingExample } from "@medvlm/core";
import { initialParameters } from "@medvlm/core/nn";
import { loadLlamaTokenizer } from "@medvlm/core/text";
import { memoryFolder } from "@medvlm/core/checkpoint";
import {
  learningRate,
  stageSchedule,
  type StepRecord,
  totalBytes,
  Trainer,
} from "@medvlm/core/train";
import {
  denseConfig,
  forcedAnswers,
  gridPositions,
  ignoredLabel,
  makeCompanions,
  type MedplibConfig,
  medplibParameters,
  type MedplibStage,
  names,
  presets,
  recordOf,
  stageMemory,
  stageOf,
  StageTraining,
  trainingBatch,
  trainingSample,
} from "@medvlm/medplib/parts";
import { chestExamples, type ChestPhantom, chestPhantom } from "../zoo/phantoms/mod.ts";

/** Small enough for a few hundred steps in a test. */
const config: MedplibConfig = {
  ...denseConfig(presets.tiny),
  llama: {
    ...presets.tiny.llama,
    hiddenSize: 64,
    intermediateSize: 128,
    layers: 2,
    heads: 4,
    keyHeads: 4,
  },
  clip: {
    ...presets.tiny.clip,
    hiddenSize: 48,
    intermediateSize: 96,
    layers: 2,
    heads: 4,
    imageSize: 56,
  },
  sam: {
    ...presets.tiny.sam,
    imageSize: 64,
    patchSize: 8,
    width: 32,
    depth: 2,
    heads: 2,
    window: 4,
    globalBlocks: [1],
    outputWidth: 32,
  },
  samDecoder: { ...presets.tiny.samDecoder, width: 32, heads: 4, mlpWidth: 64, iouWidth: 32 },
};

/** Nothing is pretrained here, so everything is trained at once, with the losses of stage III. */
const { adapters: _, ...grounding } = stageOf("grounding");
const whole: MedplibStage = {
  ...grounding,
  name: "by heart",
  trains: ["model.", "lm_head"],
  schedule: { kind: "cosine", rate: 4e-3, warmupShare: 0.07 },
};

function taught({ image }: ChestPhantom, example: Example): TrainingExample {
  const { id, task, prompt, answer, regions = [], findings = [] } = example;
  return {
    id,
    task,
    image,
    prompt,
    answer,
    regions: regions.flatMap((region) => region.kind === "mask-file" ? [] : [region]),
    findings: findings.map(({ label, masks = [] }) => ({ label, boxes: [], masks })),
  };
}

/** Of each picture a closed question, a region and a mask. */
function examplesOf(phantom: ChestPhantom, n: number): TrainingExample[] {
  const all = chestExamples(phantom);
  const organs = ["left lung", "right lung", "heart"];
  const closed = all.filter(({ answerType }) => answerType === "closed");
  const regions = all.filter(({ task, answer }) =>
    task === "region-vqa" && organs.includes(answer)
  );
  const masks = all.filter(({ task, findings }) =>
    task === "ground-mask" && organs.includes(findings![0]!.label)
  );
  return [closed, regions, masks].map((some) => taught(phantom, some[n % some.length]!));
}

function diceOf(a: Uint8Array, b: Uint8Array): number {
  let both = 0, sum = 0;
  a.forEach((value, i) => {
    both += value & b[i]!;
    sum += value + b[i]!;
  });
  return 2 * both / sum;
}

Deno.test({
  name: "eight phantoms are learned by heart: loss near zero, right answers, masks in place",
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    await using device = await openDevice();
    const companions = makeCompanions(config) as Map<string, Uint8Array<ArrayBuffer>>;
    const tokenizer = await loadLlamaTokenizer(memoryFolder("tokenizer", companions), {
      behaviour: "4.31-legacy",
    });
    const samples = Array.from({ length: 8 }, (_, n) => {
      const prevalence = { normal: 0.5, each: 0.3 };
      return examplesOf(chestPhantom({ size: 64, seed: 11, index: n, prevalence }), n);
    }).flat().map((example) => trainingSample(recordOf(example), tokenizer, config));
    assertEquals(samples.length, 24);
    assert(samples.every(({ labels }) => labels.some((label) => label !== ignoredLabel)));
    const seg = tokenizer.tokenToId("<SEG>"), pad = tokenizer.padId!;
    const batch = trainingBatch(samples, config, { seg, pad });

    const parameters = await initialParameters(device, medplibParameters(config), 3);
    const positions = await gridPositions(parameters.at(names.sam), config);
    using training = new StageTraining(parameters, config, whole, positions, { seed: 5 });
    const steps = 110, records: StepRecord[] = [];
    const schedule = stageSchedule(whole.schedule, steps);
    {
      const { betas, maxNorm } = whole;
      using trainer = new Trainer(device, training.task(() => Promise.resolve([batch])), {
        steps,
        rate: (step) => learningRate(schedule, step),
        optimiser: { betas, maxNorm: maxNorm! },
      });
      for await (const record of trainer.run()) records.push(record);
    }
    const first = records[0]!, last = records.at(-1)!;
    assert(last.loss < first.loss / 30, `${first.loss} to ${last.loss}`);
    assert(last.terms.ce! < 0.03, `${last.terms.ce}`);
    const load = { dtype: "f32", batch: 24, rows: batch.length, recompute: false } as const;
    const share = device.memory.peak / totalBytes(stageMemory(config, whole, load));
    assert(share < 1.5, `${share}`);

    const { right, masks } = await forcedAnswers(parameters, batch, config, positions);
    assertEquals(right, right.map(() => true));
    assertEquals(masks.length, 8);
    masks.forEach((mask, n) => {
      const dice = diceOf(mask.data, batch.masks[n]!.mask.data);
      assert(dice > 0.9, `${dice}`);
    });
    positions.dispose();
    parameters.dispose();
  },
});
