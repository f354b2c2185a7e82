/**
 * MedPLIB's four training stages with the settings of the official scripts (`scripts/train_stage{2,3,4}.sh`,
 * `train_ds_medplib.py`; stage I is LLaVA 1.5's projector pretraining). Where paper and scripts differ, the scripts count,
 * since the released weights were made with them (see docs/medplib.md).
 *
 * @module
 */
import type { Stage } from "@medvlm/core/train";
import type { LossWeights } from "./training_loss.ts";

/** A stage of MedPLIB. */
export interface MedplibStage extends Stage {
  /** Factors of the parts of the loss. */
  readonly losses: Readonly<Record<keyof LossWeights, number>>;
  /** Whether decoder layers have experts. */
  readonly experts: boolean;
}

const answersOnly = { ce: 1, bce: 0, dice: 0, iou: 0, focal: 0 };

/** Modules that never get adapters, by substrings of their names. */
const except = ["visual_model", "vision_tower", "mm_projector"];

const shared = {
  betas: [0.9, 0.95],
  weightDecay: 0,
  maxNorm: 1,
  batch: 128,
} as const;

/** DeepSpeed's schedule: the warm-up is a hundredth of an epoch, at least two steps. */
function warmupDecay(rate: number, epochs: number): Stage["schedule"] {
  return { kind: "warmupDecay", rate, warmupShare: 0.01 / epochs };
}

/** The stages in their order. */
export const stages: readonly MedplibStage[] = [
  {
    ...shared,
    name: "alignment",
    purpose: "Stage I: image features learn to speak to a frozen language model, on captions",
    source: "LLaVA 1.5 projector pretraining; paper, section Training",
    after: "base",
    trains: ["mm_projector"],
    losses: answersOnly,
    schedule: { kind: "cosine", rate: 1e-3, warmupShare: 0.03 },
    betas: [0.9, 0.999],
    epochs: 1,
    maxTokens: 2048,
    data: ["llava_med: 330k alignment pairs"],
    tasks: ["vqa"],
    experts: false,
  },
  {
    ...shared,
    name: "recognition",
    purpose: "Stage II: the dense language model learns to answer questions about images",
    source: "scripts/train_stage2.sh",
    after: "alignment",
    trains: [
      "lm_head",
      "embed_tokens",
      "input_layernorm",
      "post_attention_layernorm",
      "mm_projector",
    ],
    adapters: {
      rank: 16,
      alpha: 16,
      dropout: 0.05,
      targets: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
      except,
    },
    losses: answersOnly,
    schedule: warmupDecay(1e-4, 3),
    epochs: 3,
    maxTokens: 2048,
    data: [
      "mecovqa: Complex and Region",
      "slake",
      "path_vqa",
      "pmc_vqa",
      "vqa_med: 2019 and 2021",
      "vqa_rad",
    ],
    tasks: ["vqa", "region-vqa"],
    experts: false,
  },
  {
    ...shared,
    name: "grounding",
    purpose: "Stage III: feed-forward layers and mask decoder learn to segment what is asked for",
    source: "scripts/train_stage3.sh",
    after: "recognition",
    trains: ["mask_decoder", "text_hidden_fcs"],
    adapters: {
      rank: 8,
      alpha: 16,
      dropout: 0.05,
      targets: ["gate_proj", "up_proj", "down_proj"],
      except,
    },
    losses: { ce: 1, bce: 1, dice: 5, iou: 0, focal: 1 },
    schedule: warmupDecay(3e-4, 10),
    epochs: 10,
    maxTokens: 2048,
    data: ["mecovqa: Grounding"],
    tasks: ["ground-mask"],
    experts: false,
  },
  {
    ...shared,
    name: "experts",
    purpose:
      "Stage IV: the feed-forward layers of stages III and II become experts behind a router",
    source: "scripts/train_stage4.sh",
    after: "grounding",
    trains: [
      "wg",
      "lm_head",
      "embed_tokens",
      "mask_decoder",
      "text_hidden_fcs",
      "region_fea_adapter",
    ],
    adapters: {
      rank: 8,
      alpha: 16,
      dropout: 0.05,
      targets: ["q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"],
      except,
    },
    losses: { ce: 1, bce: 2, dice: 0.5, iou: 0, focal: 0 },
    schedule: warmupDecay(3e-4, 3),
    epochs: 3,
    maxTokens: 1024,
    data: ["everything of the stages recognition and grounding"],
    experts: true,
  },
];

/** A stage by its name. @throws {RangeError} when there is none, naming those there are. */
export function stageOf(name: string): MedplibStage {
  const found = stages.find((stage) => stage.name === name);
  if (found === undefined) {
    throw new RangeError(
      `MedPLIB has no stage "${name}": use ${stages.map((stage) => stage.name).join(", ")}`,
    );
  }
  return found;
}
