/**
 * The small checkpoints that can be trained from nothing: how each is trained, and what its run becomes in the end.
 *
 * @module
 */
import { openFolder } from "@medvlm/core";
import { openCheckpoint } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import type { MinigptConfig } from "@medvlm/core/minigpt";
import { tiny } from "@medvlm/core/minigpt";
import { medplib } from "@medvlm/medplib";
import type { MedplibModel } from "@medvlm/medplib/parts";
import { pefomed } from "@medvlm/pefomed";
import { pfmvg } from "@medvlm/pfmvg";
import { modelCard } from "./medplib_card.ts";
import { medplibRecipe } from "./medplib_recipe.ts";
import { releaseMedplib } from "./medplib_release.ts";
import { measureMedplib } from "./medplib_report.ts";
import { partWeights, trainMedplib } from "./medplib_run.ts";
import { minigptCard, type MinigptReport, reportPefomed, reportPfmvg } from "./minigpt_card.ts";
import { minigptRecipe } from "./minigpt_recipe.ts";
import { partModel, trainMinigpt } from "./minigpt_run.ts";
import { copyFolder } from "./copy_folder.ts";
import type { PartsRun } from "./part_runner.ts";

/** How a finished run is measured. */
export interface Finishing {
  /** Folder of the run. */
  readonly folder: string;
  /** Where the checkpoint goes. */
  readonly release: string;
  /** Device for the questions. */
  readonly device: Device;
  /** Held-out phantoms to ask about. */
  readonly heldOut: number;
  /** Called after every picture. */
  readonly progress: (done: number, total: number) => void;
}

/** What ships with the weights. */
export interface Finished {
  /** Bytes of weights. */
  readonly bytes: number;
  /** Figures as data. */
  readonly report: unknown;
  /** The model card as Markdown. */
  readonly card: string;
}

/** A recipe as the command runs it. */
export interface Recipe {
  /** Carries it out; false after an abort. */
  train(run: PartsRun): Promise<boolean>;
  /** Writes the checkpoint of a finished run and asks it about held-out phantoms. */
  finish(finishing: Finishing): Promise<Finished>;
}

const medplibTiny = medplib.presets.tiny!;

const ofMedplib: Recipe = {
  train: (run) => trainMedplib({ ...run, config: medplibTiny, recipe: medplibRecipe }),
  async finish({ folder, release, device, heldOut, progress }) {
    const config = medplibTiny;
    const bytes = await releaseMedplib(`${folder}/experts/${partWeights}`, config, release);
    const source = await openFolder(release);
    using tensors = await openCheckpoint(source);
    await using model = await medplib.load({ folder: source, tensors }, { device, config });
    const { phantoms, seed } = medplibRecipe;
    const report = await measureMedplib(
      model as MedplibModel,
      { ...phantoms, seed, split: "test", count: heldOut },
      progress,
    );
    return { bytes, report, card: await modelCard(folder, report, device.info.name, bytes) };
  },
};

/**
 * As the published model, at larger pictures than its tower's positions are stored for, for nodules are small. Every
 * batch of a recipe is new: there is nothing to overfit, and dropout would only slow learning down.
 */
const minigptSmall: MinigptConfig = {
  ...tiny,
  vision: { ...tiny.vision, imageSize: 168 },
  adapters: { ...tiny.adapters, dropout: 0 },
};

/** @param part The part whose model ships. */
function ofFamily(
  plugin: typeof pfmvg,
  part: string,
  measure: (...args: Parameters<typeof reportPfmvg>) => Promise<MinigptReport>,
): Recipe {
  return {
    train: (run) => trainMinigpt({ ...run, plugin, config: minigptSmall, recipe: minigptRecipe }),
    async finish({ folder, release, device, heldOut, progress }) {
      const bytes = await copyFolder(`${folder}/${part}/${partModel}`, release);
      const run = { folder, device, plugin };
      const { phantoms, seed } = minigptRecipe;
      const source = { ...phantoms, seed, split: "test", count: heldOut } as const;
      const report = await measure(run, { source, progress });
      return { bytes, report: report.data, card: await minigptCard(run, report, bytes) };
    },
  };
}

/** Recipes by the name of the plugin they train. */
export const recipes: Readonly<Record<string, Recipe>> = {
  medplib: ofMedplib,
  pfmvg: ofFamily(pfmvg, "pfmvg-grounding", reportPfmvg),
  pefomed: ofFamily(pefomed, "pefomed-vqa-rad", reportPefomed),
};
