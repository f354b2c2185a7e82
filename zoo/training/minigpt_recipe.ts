/**
 * How a small PFMVG and a small PeFoMed are trained: one base for both, its language model and vision tower first, then what
 * MiniGPT-v2 was trained for, then the stages of each paper, all on chest phantoms. Numbers only; `minigpt_run.ts` carries them out.
 *
 * @module
 */
import type { FamilyMix } from "./minigpt_lessons.ts";
import type { PartRecipe } from "./part_runner.ts";
import type { MatchingRecipe, PatchRecipe } from "./patch_task.ts";
import type { Prevalence } from "../phantoms/mod.ts";
import type { PhantomSource } from "./pool.ts";

/** How a part's phantoms differ from those of {@linkcode MinigptRecipe.phantoms}. */
export interface OwnPhantoms {
  /** How often findings are drawn: where they are many, each step shows more of them than it would of pictures as they come. */
  readonly prevalence?: Prevalence;
  /** How many there are; of the same prevalence, fewer are among more. */
  readonly count?: number;
}

/** A stage on phantoms; `batch` counts pictures. */
export interface FamilyPart extends PartRecipe, OwnPhantoms {
  /** Most lessons about each picture of a batch. Default 1. */
  readonly each?: number;
  /** Kinds of lesson with their shares. */
  readonly mix: FamilyMix;
}

/** A cosine of the base. */
export interface BasePart extends FamilyPart {
  /** Weight of attention's looking at the edges of boxes, see `looking.ts`. Default 0. */
  readonly looking?: number;
  /** Weight of the rows' naming of sizes, with which the tower learns, see `naming.ts`. Default 0: it stays as it is. */
  readonly naming?: number;
}

/** A cosine of the vision tower. */
export interface TowerPart extends PatchRecipe, OwnPhantoms {
  /** Side of its pictures. Default: the model's own; EVA, too, was trained on smaller ones first. */
  readonly imageSize?: number;
}

/** The recipe of the family. */
export interface MinigptRecipe {
  /** Of weights, draws and phantoms. */
  readonly seed: number;
  /** Phantoms to train on; tests draw from other parts of the same seed. */
  readonly phantoms: Omit<PhantomSource, "seed" | "split">;
  /** Next tokens of lessons, without pictures. */
  readonly language: PartRecipe;
  /** Patches of the vision tower and names of what they show: cosines one after the other. */
  readonly patches: readonly TowerPart[];
  /** Rows of the projection and the language model's words for what is on their patches. */
  readonly words: MatchingRecipe & OwnPhantoms;
  /** The base: cosines one after the other. */
  readonly base: readonly BasePart[];
  /** The last cosines of the base for each system, of what it is asked. */
  readonly own: Readonly<Record<"pfmvg" | "pefomed", readonly BasePart[]>>;
  /** Stages of the systems: by the system's name, then by that of its stage. */
  readonly stages: Readonly<Record<"pfmvg" | "pefomed", Readonly<Record<string, FamilyPart>>>>;
}

/** What MiniGPT-v2 was trained for. */
const tasks: FamilyMix = {
  yesno: 4,
  open: 1,
  identify: 0.5,
  thing: 0.5,
  phrase: 8,
  caption: 1,
  report: 1.5,
};

/** The same with more texts, when closed questions are answered well. */
const texts: FamilyMix = { ...tasks, yesno: 1.5, open: 1.5, caption: 1.5, report: 3 };

/** Half of all findings in nearly every picture. */
const prevalence: Prevalence = { normal: 0.1, each: 0.45 };

/** The tower with small patches. */
const edged: TowerPart = {
  ...{ steps: 800, batch: 12, rate: 1e-3, warmupShare: 0.05 },
  ...{ picture: true, edges: true, weighRare: true, prevalence },
};

/** All tasks at once, about pictures more like those to come. */
const everything = (steps: number, rate: number, warmupShare: number): FamilyPart => ({
  ...{ steps, batch: 12, each: 6, rate, warmupShare },
  prevalence: { normal: 0.2, each: 0.3 },
  mix: tasks,
});

/** Late in training: phantoms that were seen often are known too well. */
const many: OwnPhantoms = { count: 16000 };

/** What one system is asked. */
const asked = (steps: number, rate: number, mix: FamilyMix): FamilyPart => ({
  ...everything(steps, rate, 0.03),
  ...many,
  ...{ batch: 18, each: 4, mix },
});

/** Stages in these recipes: what they are taught, and how much of it. */
const stage = (
  steps: number,
  [batch, each]: readonly [pictures: number, each: number],
  mix: FamilyMix,
  rate = 1e-3,
): FamilyPart => ({ steps, batch, each, rate, warmupShare: 0.05, mix });

/** The recipe of the small checkpoints that ship. */
export const minigptRecipe: MinigptRecipe = {
  seed: 20261129,
  phantoms: { size: 168, count: 4000 },
  language: { steps: 200, batch: 32, rate: 2e-3, warmupShare: 0.05 },
  patches: [
    { steps: 800, batch: 24, rate: 1.5e-3, warmupShare: 0.03, imageSize: 112 },
    { steps: 800, batch: 24, rate: 1e-3, warmupShare: 0.03, imageSize: 112 },
    { steps: 1000, batch: 24, rate: 1e-3, warmupShare: 0.05, picture: true, imageSize: 112 },
    edged,
    { ...edged, digits: true },
  ],
  words: { steps: 400, batch: 12, rate: 3e-3, warmupShare: 0.05, weighRare: true, prevalence },
  base: [
    // Boxes first: in a mixture from the first step on nothing is found in the picture for long.
    {
      ...{ steps: 300, batch: 12, each: 6, rate: 1e-3, warmupShare: 0.1, prevalence },
      mix: { thing: 1, phrase: 6 },
    },
    everything(1200, 1e-3, 0.03),
    everything(160, 7e-4, 0.05),
    { ...everything(1500, 1e-3, 0.03), mix: texts },
  ],
  own: {
    pfmvg: [{
      ...asked(1050, 1.5e-3, { phrase: 10, thing: 1, caption: 0.5, report: 0.5 }),
      looking: 1,
    }],
    pefomed: [
      asked(1200, 1e-3, { yesno: 1.5, open: 3, identify: 0.5, caption: 1.5, report: 5 }),
      // Sizes, on pictures with as many of them as there is room for.
      {
        ...asked(600, 1.5e-3, { size: 6, phrase: 2, open: 1, yesno: 1, report: 1 }),
        ...{ count: 8000, prevalence: { normal: 0.05, each: 0.5 }, batch: 24 },
        ...{ looking: 1, naming: 1 },
      },
      {
        ...asked(450, 1e-3, {
          ...{ yesno: 1, open: 1.5, size: 1.5, identify: 0.3 },
          ...{ phrase: 0.5, caption: 1.5, report: 5 },
        }),
        ...{ looking: 1, naming: 1 },
      },
    ],
  },
  stages: {
    // The base of PFMVG knows both tasks already: small steps.
    pfmvg: {
      captioning: { ...stage(60, [16, 1], { caption: 1, report: 1 }, 5e-4), ...many },
      grounding: { ...stage(200, [16, 3], { phrase: 1 }, 5e-4), ...many },
    },
    pefomed: {
      captioning: { ...stage(60, [16, 1], { caption: 1, report: 1 }, 5e-4), ...many },
      "vqa-rad": { ...stage(200, [8, 8], { yesno: 1, closed: 1, open: 2 }, 5e-4), ...many },
      report: { ...stage(150, [16, 1], { report: 1 }, 5e-4), ...many },
    },
  },
};
