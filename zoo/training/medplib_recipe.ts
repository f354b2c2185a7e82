/**
 * How the small MedPLIB that ships is trained: the towers and the language model by their own published objectives, then
 * the paper's four stages, all on chest phantoms. Numbers only; `medplib_run.ts` carries them out.
 *
 * @module
 */
import type { Mix } from "./medplib_data.ts";
import type { PhantomSource } from "./pool.ts";

/** Settings of one part. */
export interface PartRecipe {
  /** Optimiser steps. */
  readonly steps: number;
  /** Samples per step: pictures with reports, pictures, texts, conversations. */
  readonly batch: number;
  /** Highest learning rate, reached after the warm-up and falling to 0 by half a cosine. */
  readonly rate: number;
  /** Share of the steps that the warm-up takes. */
  readonly warmupShare: number;
}

/** A stage of the paper on phantoms. */
export interface StageRecipe extends PartRecipe {
  /** Kinds of conversation with their shares. */
  readonly mix: Mix;
}

/** The whole recipe. */
export interface MedplibRecipe {
  /** Of weights, draws and phantoms. */
  readonly seed: number;
  /** Phantoms to train on; tests draw from other parts of the same seed. */
  readonly phantoms: Omit<PhantomSource, "seed" | "split">;
  /** SAM's masks from prompts; `masks` per picture share the work of the image encoder. */
  readonly sam: PartRecipe & { readonly masks: number };
  /** The same by names as often as by places: the image encoder learns to tell what is what. */
  readonly concepts: PartRecipe & { readonly masks: number; readonly nameShare: number };
  /** Next tokens of conversations, without pictures. */
  readonly language: PartRecipe;
  /** CLIP's contrast of pictures and reports. */
  readonly clip: PartRecipe;
  /**
   * Captions of pictures, vision tower and language model together: what contrastive captioners add to CLIP's objective (Yu
   * et al., "CoCa", 2022). Contrast alone needs batches and steps that this small machine does not have.
   */
  readonly captions: StageRecipe;
  /**
   * Conversations of all kinds, without masks, the same parts learning: what the paper's stages start from, since they
   * tune little and a small machine has no Vicuna to begin with.
   */
  readonly conversations: StageRecipe;
  /** The paper's stages by name. */
  readonly stages: Readonly<Record<string, StageRecipe>>;
}

/** The recipe of the checkpoint that ships. */
export const medplibRecipe: MedplibRecipe = {
  seed: 20261128,
  phantoms: { size: 96, count: 4000 },
  sam: { steps: 900, batch: 8, masks: 3, rate: 1e-3, warmupShare: 0.05 },
  concepts: { steps: 1400, batch: 8, masks: 4, rate: 1e-3, warmupShare: 0.03, nameShare: 0.7 },
  language: { steps: 200, batch: 32, rate: 2e-3, warmupShare: 0.05 },
  clip: { steps: 250, batch: 32, rate: 1.5e-3, warmupShare: 0.05 },
  captions: {
    steps: 700,
    batch: 16,
    rate: 1.5e-3,
    warmupShare: 0.05,
    mix: { caption: 3, report: 1 },
  },
  conversations: {
    steps: 1000,
    batch: 10,
    rate: 1.5e-3,
    warmupShare: 0.05,
    mix: { everything: 4, questions: 4, caption: 1, report: 1 },
  },
  stages: {
    alignment: { steps: 50, batch: 16, rate: 1e-3, warmupShare: 0.03, mix: { caption: 1 } },
    recognition: {
      steps: 600,
      batch: 16,
      rate: 2e-3,
      warmupShare: 0.03,
      mix: { closed: 5, open: 2, region: 3, report: 1 },
    },
    grounding: {
      steps: 250,
      batch: 12,
      rate: 1.5e-3,
      warmupShare: 0.03,
      mix: { structure: 2, finding: 3 },
    },
    experts: {
      steps: 220,
      batch: 16,
      rate: 1e-3,
      warmupShare: 0.03,
      mix: { closed: 4, open: 1, region: 2, structure: 2, finding: 3 },
    },
  },
};
