/**
 * PeFoMed's training stages with the settings of the released YAML files (`pefomed/configs/`). An epoch there is a fixed number of
 * steps and no pass over the data: `stepsPerEpoch` has it, and `epochs` counts those.
 *
 * @module
 */
import type { Stage } from "@medvlm/core/train";

/** A stage of PeFoMed. */
export interface PefomedStage extends Stage {
  /** Optimiser steps that the released files call an epoch. */
  readonly stepsPerEpoch: number;
  /** Samples that the evaluation takes at once in the released files; undefined where the stage has none. */
  readonly evaluationBatch?: number;
}

/** Trained in every stage; adapters and projection are part of the checkpoint and go on from where they are. */
const shared = {
  trains: ["llama_proj", "lora_"],
  losses: { ce: 1 },
  betas: [0.9, 0.999],
  weightDecay: 0.05,
  maxTokens: 1024,
} as const;

const stairs = { kind: "epochStaircase", warmupRate: 1e-6 } as const;

const shortAnswers = {
  ...shared,
  after: "captioning",
  schedule: { ...stairs, rate: 1e-5, minRate: 1e-6, warmupSteps: 100 },
  epochs: 50,
  stepsPerEpoch: 100,
  batch: 1,
  evaluationBatch: 10,
  tasks: ["vqa"],
} as const;

/** The stages in their order; each of the second stage starts from the first. */
export const stages: readonly PefomedStage[] = [
  {
    ...shared,
    name: "captioning",
    purpose: "Stage 1: image features learn to speak, on captions of figures and reports",
    source: "finetune_stage1.yaml",
    after: "base",
    schedule: { ...stairs, rate: 1e-5, minRate: 1e-6, warmupSteps: 1000 },
    epochs: 5,
    stepsPerEpoch: 1000,
    batch: 100,
    data: ["clef2022", "roco", "medicat", "mimic_cxr: reports"],
    tasks: ["caption", "report"],
  },
  {
    ...shortAnswers,
    name: "vqa-rad",
    purpose: "Stage 2: short answers to the questions of VQA-RAD",
    source: "vqarad_finetune_stage2.yaml",
    data: ["vqa_rad"],
  },
  {
    ...shortAnswers,
    name: "slake",
    purpose: "Stage 2: short answers to the questions of SLAKE",
    source: "slake_finetune_stage2.yaml",
    data: ["slake"],
  },
  {
    ...shortAnswers,
    name: "path-vqa",
    purpose: "Stage 2: short answers to the questions of PathVQA",
    source: "pathvqa_finetune_stage2.yaml",
    data: ["path_vqa"],
  },
  {
    ...shared,
    name: "report",
    purpose: "Stage 2: findings of chest X-rays",
    source: "iuxray_finetune_stage2.yaml",
    after: "captioning",
    schedule: { ...stairs, rate: 3e-5, minRate: 1e-5, warmupSteps: 100 },
    epochs: 4,
    stepsPerEpoch: 100,
    batch: 1,
    evaluationBatch: 8,
    data: ["iu_xray: findings"],
    tasks: ["report"],
  },
];

/** A stage by its name. @throws {RangeError} when there is none, naming those there are. */
export function stageOf(name: string): PefomedStage {
  const found = stages.find((stage) => stage.name === name);
  if (found === undefined) {
    throw new RangeError(
      `PeFoMed has no stage "${name}": use ${stages.map((stage) => stage.name).join(", ")}`,
    );
  }
  return found;
}
