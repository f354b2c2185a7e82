/**
 * The model that a stage starts from: a checkpoint, random weights, or the models of earlier stages and of others put together
 * (official `train_ds_medplib.py` with `--version`, `--expert_pretrained_path`, `--vision_pretrained`, `--vision_tower`).
 *
 * @module
 */
import {
  type CheckpointFolder,
  InputError,
  JsonFields,
  readJson,
  type StageStart,
} from "@medvlm/core";
import { type CheckpointSource, checkpointSource, memoryFolder } from "@medvlm/core/checkpoint";
import { initialSource } from "@medvlm/core/nn";
import { type LlamaTokenizer, loadLlamaTokenizer } from "@medvlm/core/text";
import { assembleBase, assembleExperts, denseConfig } from "./assembly.ts";
import { type MedplibConfig, paper } from "./config.ts";
import { readClip, readLlama, readMedplibConfig, readSam } from "./config_files.ts";
import type { CompanionFiles } from "./model.ts";
import { medplibParameters, names } from "./params.ts";
import { addedTokens, withMedplibTokens } from "./prompt.ts";
import {
  joinCompanions,
  makeCompanions,
  readCompanions,
  towerFolder,
  withExperts,
} from "./release_files.ts";
import type { MedplibStage } from "./stages.ts";

/** What a stage starts from, complete. */
export interface StageModel {
  /** With experts for a stage that has them, else dense. */
  readonly config: MedplibConfig;
  /** All tensors by the names of the release. */
  readonly tensors: CheckpointSource;
  /** Knows `<SEG>` and the tags of regions. */
  readonly tokenizer: LlamaTokenizer;
  /** Files that belong to the saved model. */
  readonly companions: CompanionFiles;
}

/** The models that MedPLIB can be put together from. */
export const parts: Readonly<Record<string, string>> = {
  language:
    "language model in the layout of llava-v1.5-7b, for the stages alignment and recognition",
  projector: "mm_projector.bin of a projector's pretraining",
  clip: "the vision tower's own checkpoint",
  sam: "SAM-Med2D's own file",
  recognition: "what the stage recognition wrote, for the stage experts",
  grounding: "what the stage grounding wrote, for the stage experts",
};

const behaviour = "4.31-legacy";

function unfit(message: string): InputError {
  return new InputError("BAD_START", message);
}

/** The same sizes with the two experts that the published stage gives to every layer. */
function expertConfig(config: MedplibConfig): MedplibConfig {
  const layers = Array.from({ length: config.llama.layers }, (_, n) => n);
  return { ...config, moe: { ...paper.moe, layers, experts: layers.map(() => 2) } };
}

async function randomModel(
  config: MedplibConfig,
  { experts }: MedplibStage,
  seed: number,
): Promise<StageModel> {
  const sizes = experts ? config : denseConfig(config);
  const companions = makeCompanions(sizes);
  const files = memoryFolder(
    "built-in tokenizer",
    companions as Map<string, Uint8Array<ArrayBuffer>>,
  );
  return {
    config: sizes,
    tensors: initialSource("random weights", medplibParameters(sizes), seed),
    tokenizer: await loadLlamaTokenizer(files, { behaviour }),
    companions,
  };
}

async function savedModel(checkpoint: CheckpointFolder): Promise<StageModel> {
  const { folder, tensors } = checkpoint;
  return {
    config: await readMedplibConfig(checkpoint),
    tensors,
    tokenizer: await loadLlamaTokenizer(folder, { behaviour }),
    companions: await readCompanions(folder, await readJson(folder, "config.json")),
  };
}

/** A saved model with experts where the stage has them, and without where it has none. */
async function furtherModel(
  checkpoint: CheckpointFolder,
  stage: MedplibStage,
): Promise<StageModel> {
  const model = await savedModel(checkpoint);
  const experts = model.config.moe.layers.length > 0;
  const start = `Cannot start stage "${stage.name}" from "${checkpoint.folder.name}"`;
  if (experts && !stage.experts) {
    throw unfit(
      `${start}: it has experts, and the stage trains the dense model; use --stage experts to train it further`,
    );
  }
  if (!experts && stage.experts) {
    throw unfit(
      `${start}: it has no experts; give the results of the stages before with --recognition DIR and --grounding DIR`,
    );
  }
  return model;
}

async function expertModel(
  { recognition, grounding, sam, clip }: Readonly<Record<string, CheckpointFolder>>,
  seed: number,
): Promise<StageModel> {
  if (recognition === undefined || grounding === undefined) {
    throw unfit(
      "Cannot put experts together from one model: give both --recognition DIR and --grounding DIR",
    );
  }
  const dense = await savedModel(recognition);
  if (dense.config.moe.layers.length > 0) {
    throw unfit(
      `Cannot put experts together from "${recognition.folder.name}": it has experts already; use --checkpoint DIR to train it further`,
    );
  }
  const config = expertConfig(dense.config);
  return {
    ...dense,
    config,
    tensors: assembleExperts(
      {
        recognition: recognition.tensors,
        grounding: grounding.tensors,
        ...(sam ? { sam: sam.tensors } : {}),
        ...(clip ? { clip: clip.tensors } : {}),
      },
      config,
      seed,
    ),
    companions: withExperts(dense.companions, config),
  };
}

/** The tensors under the names of the release, as far as their sizes are asked for. */
function outline(
  { language, clip, sam }: Readonly<Record<string, CheckpointFolder>>,
): CheckpointSource {
  const tensors = new Map([...language!.tensors.entries()].map((one) => [one.name, one]));
  for (const tensor of clip?.tensors.entries() ?? []) {
    const { name } = tensor;
    if (name.startsWith("vision_model.")) {
      tensors.set(names.clip + name.slice("vision_model.".length), tensor);
    }
  }
  for (const tensor of sam?.tensors.entries() ?? []) tensors.set(names.sam + tensor.name, tensor);
  return checkpointSource(language!.tensors.name, tensors);
}

async function baseModel(
  given: Readonly<Record<string, CheckpointFolder>>,
  seed: number,
): Promise<StageModel> {
  const { language, projector, clip, sam } = given;
  const json = await readJson(language!.folder, "config.json");
  const tensors = outline(given);
  const lacks = (name: string) => tensors.get(name) === undefined;
  if (lacks(`${names.clip}embeddings.patch_embedding.weight`)) {
    throw unfit(
      `Cannot start from "${language!.folder.name}" alone: it has no vision tower; add --clip DIR`,
    );
  }
  if (lacks(`${names.sam}image_encoder.patch_embed.proj.weight`)) {
    throw unfit(
      `Cannot start from "${language!.folder.name}" alone: it has no mask decoder; add --sam FILE`,
    );
  }
  const tokenizer = withMedplibTokens(await loadLlamaTokenizer(language!.folder, { behaviour }));
  const tower = towerFolder(json);
  const vision = clip === undefined
    ? readClip({ folder: language!.folder, tensors }, tower && `${tower}/config.json`)
    : readClip({ folder: clip.folder, tensors }, "config.json");
  const llama = readLlama(new JsonFields("config.json", json));
  const config = denseConfig({
    ...paper,
    llama: { ...llama, vocabulary: Math.max(llama.vocabulary, tokenizer.size) },
    clip: await vision,
    ...readSam(tensors),
    stored: tensors.get("model.embed_tokens.weight")?.dtype === "BF16" ? "BF16" : "F32",
  });
  const ids = Object.fromEntries(addedTokens.map((token) => [token, tokenizer.tokenToId(token)]));
  return {
    config,
    tensors: await assembleBase(
      {
        language: language!.tensors,
        ...(projector ? { projector: projector.tensors } : {}),
        ...(clip ? { clip: clip.tensors } : {}),
        ...(sam ? { sam: sam.tensors } : {}),
      },
      config,
      seed,
    ),
    tokenizer,
    companions: await joinCompanions(language!.folder, config, ids),
  };
}

/**
 * Finds or puts together the model of a stage.
 *
 * @param seed Of random weights, routers and new rows of tables.
 * @throws {InputError} code `BAD_START` when the start does not fit the stage; and as the parts of `assembly.ts` do.
 */
export async function stageModel(
  { checkpoint, config, parts: given = {} }: StageStart<MedplibConfig>,
  stage: MedplibStage,
  seed: number,
): Promise<StageModel> {
  if (checkpoint !== undefined) return await furtherModel(checkpoint, stage);
  if (config !== undefined) return await randomModel(config, stage, seed);
  if (stage.experts) return await expertModel(given, seed);
  if (given.language === undefined || (given.recognition ?? given.grounding) !== undefined) {
    throw unfit(
      `Cannot start stage "${stage.name}": give the model it starts from with --checkpoint DIR, or a language model with --language DIR`,
    );
  }
  return await baseModel(given, seed);
}
