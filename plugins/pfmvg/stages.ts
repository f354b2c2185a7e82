/**
 * PFMVG's two training stages (paper, section on training). What the paper does not say is taken from the code base it is built on:
 * adapters of rank 64, a warm-up from 1e-6 over 1000 steps, weight decay 0.05 in stage 2 too, no clipping.
 *
 * @module
 */
import type { Stage } from "@medvlm/core/train";

/** Trained in both stages; adapters and projection are part of the checkpoint and go on from where they are. */
const shared = {
  trains: ["llama_proj", "lora_"],
  losses: { ce: 1 },
  betas: [0.9, 0.999],
  weightDecay: 0.05,
  maxTokens: 1024,
} as const;

const cosine = { kind: "epochCosine", warmupRate: 1e-6, warmupSteps: 1000 } as const;

/** The stages in their order. */
export const stages: readonly Stage[] = [
  {
    ...shared,
    name: "captioning",
    purpose: "Stage 1: medical knowledge from captions of figures and reports of chest X-rays",
    source: "paper, stage 1",
    after: "base",
    schedule: { ...cosine, rate: 1e-4, minRate: 8e-5 },
    batch: 2,
    epochs: 3,
    data: ["roco", "clef2022", "mimic_cxr: reports"],
    tasks: ["caption", "report"],
  },
  {
    ...shared,
    name: "grounding",
    purpose: "Stage 2: boxes as text for phrases of reports",
    source: "paper, stage 2",
    after: "captioning",
    schedule: { ...cosine, rate: 3e-5, minRate: 1e-5 },
    batch: 4,
    epochs: 50,
    data: ["ms_cxr"],
    tasks: ["ground-box"],
  },
];

/** Rows of the ablation (tables 3 and 4): the stages that a model has gone through. */
export const ablation: Readonly<Record<string, readonly string[]>> = {
  "no stage": [],
  "stage 2": ["grounding"],
  "stage 1": ["captioning"],
  "both stages": ["captioning", "grounding"],
};

/** A stage by its name. @throws {RangeError} when there is none, naming those there are. */
export function stageOf(name: string): Stage {
  const found = stages.find((stage) => stage.name === name);
  if (found === undefined) {
    throw new RangeError(
      `PFMVG has no stage "${name}": use ${stages.map((stage) => stage.name).join(", ")}`,
    );
  }
  return found;
}
