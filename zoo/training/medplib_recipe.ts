/**
 * How the small MedPLIB that ships is trained: the towers and the language model by their own published objectives, then
 * the paper's four stages, all on chest phantoms. Numbers only; `medplib_run.ts` carries them out.
 *
 * @module
 */
import type { Mix } from "./medplib_data.ts";
import type { PartRecipe } from "./part_runner.ts";
import type { PatchRecipe } from "./patch_task.ts";
import type { PhantomSource } from "./pool.ts";

/** A stage of the paper on phantoms; `batch` counts pictures. */
export interface StageRecipe extends PartRecipe {
  /** Most conversations about each picture of a batch. Default 1. */
  readonly each?: number;
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
  /** Patches of the vision tower and names of what they show: cosines one after the other. */
  readonly patches: readonly PatchRecipe[];
  /** Rows of the projector and the language model's words for what is on their patches. */
  readonly words: PartRecipe;
  /**
   * Conversations of all kinds, without masks, projector and language model learning together: what the paper's stages start
   * from, since they tune little and a small machine has no Vicuna to begin with.
   */
  readonly conversations: readonly StageRecipe[];
  /** The paper's stages by name. */
  readonly stages: Readonly<Record<string, StageRecipe>>;
}

/** The recipe of the checkpoint that ships. */
export const medplibRecipe: MedplibRecipe = {
  seed: 20261128,
  phantoms: { size: 96, count: 4000 },
  sam: { steps: 900, batch: 8, masks: 3, rate: 1e-3, warmupShare: 0.05 },
  concepts: { steps: 1400, batch: 8, masks: 4, rate: 1e-3, warmupShare: 0.03, nameShare: 0.7 },
  language: { steps: 150, batch: 32, rate: 2e-3, warmupShare: 0.05 },
  clip: { steps: 250, batch: 32, rate: 1.5e-3, warmupShare: 0.05 },
  patches: [
    { steps: 600, batch: 24, rate: 1.5e-3, warmupShare: 0.03 },
    { steps: 600, batch: 24, rate: 1e-3, warmupShare: 0.03 },
    { steps: 1200, batch: 24, rate: 1e-3, warmupShare: 0.05, picture: true },
  ],
  words: { steps: 400, batch: 24, rate: 3e-3, warmupShare: 0.05 },
  conversations: [
    // Closed questions among other conversations took several times as long: their one token is a small part of the loss.
    { steps: 400, batch: 12, each: 6, rate: 2e-3, warmupShare: 0.1, mix: { yesno: 1 } },
    { steps: 300, batch: 12, each: 6, rate: 2e-3, warmupShare: 0.1, mix: { yesno: 1 } },
    {
      steps: 400,
      batch: 8,
      each: 10,
      rate: 1.5e-3,
      warmupShare: 0.05,
      mix: { yesno: 3, closed: 2, open: 3, region: 2, request: 1, report: 0.5 },
    },
  ],
  stages: {
    alignment: { steps: 30, batch: 16, rate: 5e-4, warmupShare: 0.03, mix: { caption: 1 } },
    recognition: {
      steps: 100,
      batch: 8,
      each: 8,
      rate: 1e-3,
      warmupShare: 0.05,
      mix: { closed: 6, open: 2, region: 3 },
    },
    grounding: {
      steps: 400,
      batch: 6,
      each: 4,
      rate: 1e-3,
      warmupShare: 0.05,
      mix: { structure: 1, finding: 3 },
    },
    experts: {
      steps: 450,
      batch: 8,
      each: 6,
      rate: 1e-3,
      warmupShare: 0.04,
      mix: { closed: 4, open: 2, region: 2, structure: 1, finding: 5, report: 1 },
    },
  },
};
