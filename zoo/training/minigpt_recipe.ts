/**
 * How the small PFMVG and PeFoMed that ship are trained: one base for both, its vision tower first and then all of it learning
 * what MiniGPT-v2 was trained for, then the stages of each paper, all on chest phantoms. Numbers only; `minigpt_run.ts` carries them out.
 *
 * @module
 */
import type { FamilyMix } from "./minigpt_lessons.ts";
import type { PartRecipe } from "./part_runner.ts";
import type { PhantomSource } from "./pool.ts";

/** A stage on phantoms. */
export interface FamilyPart extends PartRecipe {
  /** Kinds of lesson with their shares. */
  readonly mix: FamilyMix;
}

/** The recipe of the family. */
export interface MinigptRecipe {
  /** Of weights, draws and phantoms. */
  readonly seed: number;
  /** Phantoms to train on; tests draw from other parts of the same seed. */
  readonly phantoms: Omit<PhantomSource, "seed" | "split">;
  /** Patches of the vision tower and names of what they show. */
  readonly patches: PartRecipe;
  /** The base. */
  readonly base: FamilyPart;
  /** Stages of the systems: by the system's name, then by that of its stage. */
  readonly stages: Readonly<Record<"pfmvg" | "pefomed", Readonly<Record<string, FamilyPart>>>>;
}

/** Stages in these recipes: what they are taught, and how much of it. */
const stage = (steps: number, mix: FamilyMix): FamilyPart => ({
  steps,
  batch: 24,
  rate: 2e-3,
  warmupShare: 0.05,
  mix,
});

/** The recipe of the checkpoints that ship. */
export const minigptRecipe: MinigptRecipe = {
  seed: 20261129,
  phantoms: { size: 112, count: 4000 },
  patches: { steps: 800, batch: 24, rate: 1.5e-3, warmupShare: 0.03 },
  base: {
    steps: 2000,
    batch: 24,
    rate: 1.5e-3,
    warmupShare: 0.03,
    mix: { closed: 3, open: 2, identify: 3, thing: 5, caption: 1.5, report: 1.5 },
  },
  stages: {
    pfmvg: {
      captioning: stage(100, { caption: 1, report: 1 }),
      grounding: stage(400, { phrase: 1 }),
    },
    pefomed: {
      captioning: stage(100, { caption: 1, report: 1 }),
      "vqa-rad": stage(300, { closed: 2, open: 1 }),
      report: stage(150, { report: 1 }),
    },
  },
};
