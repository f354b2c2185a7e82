/**
 * From the checkpoints that a stage starts from to one checkpoint: experts of stage IV from the stages before, new rows of
 * a larger vocabulary, towers from files of their own (official `initialize_moe_modules`, `train_ds_medplib.py`).
 *
 * @module
 */
import {
  type CheckpointSource,
  checkpointSource,
  fromFloat32,
  memoryTensor,
  renamedTensor,
  type TensorEntry,
  toFloat32,
} from "@medvlm/core/checkpoint";
import { initialValues, type ParameterSpec } from "@medvlm/core/nn";
import { InputError } from "@medvlm/core";
import type { MedplibConfig } from "./config.ts";
import { medplibParameters, names } from "./params.ts";

/** What stage IV is put together from. */
export interface ExpertSources {
  /** Stage II, dense: gives everything that is not taken from elsewhere, and expert 1, vision and language. */
  readonly recognition: CheckpointSource;
  /** Stage III, dense: gives expert 0, grounding, and the mask decoder and `text_hidden_fcs`. */
  readonly grounding: CheckpointSource;
  /** SAM-Med2D's own file (names from `image_encoder.` on), in place of the copy in stage II. */
  readonly sam?: CheckpointSource;
  /** CLIP's own checkpoint (names from `vision_model.` on), in place of the copy in stage II. */
  readonly clip?: CheckpointSource;
}

/** The same configuration without experts, as stages I to III have it. */
export function denseConfig(config: MedplibConfig): MedplibConfig {
  return { ...config, moe: { ...config.moe, layers: [], experts: [] } };
}

/** A float parameter made from its initialiser. */
function initialTensor(spec: ParameterSpec, seed: number): TensorEntry {
  const rows = spec.shape[0] ?? 1;
  const values = initialValues(spec, seed, 0, rows);
  return memoryTensor(spec.name, spec.stored, spec.shape, fromFloat32(values, spec.stored));
}

const expertName =
  /^(model\.layers\.\d+\.mlp\.)deepspeed_moe\.experts\.deepspeed_experts\.(\d+)\.(.+)$/;

/**
 * The checkpoint that stage IV starts from, in the names of the release. Routers start from their initialiser. Nothing is
 * copied: tensors are read from the sources when they are asked for.
 *
 * @param config With experts.
 * @param seed Of the routers.
 * @throws {InputError} code `MISSING_TENSOR` naming what a source lacks; for other than two experts, `UNSUPPORTED`.
 */
export function assembleExperts(
  sources: ExpertSources,
  config: MedplibConfig,
  seed: number,
): CheckpointSource {
  if (config.moe.experts.some((count) => count !== 2)) {
    throw new InputError(
      "UNSUPPORTED",
      `Cannot assemble ${
        config.moe.experts.join(", ")
      } experts: stage IV has two, grounding and recognition`,
    );
  }
  const { recognition, grounding, sam, clip } = sources;
  const take = (source: CheckpointSource, name: string, as: string): TensorEntry => {
    const found = source.get(name);
    if (found === undefined) {
      throw new InputError(
        "MISSING_TENSOR",
        `Cannot assemble stage IV: "${source.name}" has no tensor "${name}"`,
      );
    }
    return renamedTensor(found, as);
  };
  const tensors = medplibParameters(config).flatMap((spec): TensorEntry[] => {
    const { name } = spec;
    const expert = expertName.exec(name);
    if (expert !== null) {
      const source = expert[2] === "0" ? grounding : recognition;
      return [take(source, `${expert[1]}${expert[3]}`, name)];
    }
    if (name.endsWith("gate.wg.weight")) return [initialTensor(spec, seed)];
    if (name.startsWith(names.textProjector) || name.includes(".mask_decoder.")) {
      return [take(grounding, name, name)];
    }
    if (sam !== undefined && name.startsWith(names.sam)) {
      return [take(sam, name.slice(names.sam.length), name)];
    }
    if (clip !== undefined && name.startsWith(names.clip)) {
      return [take(clip, `vision_model.${name.slice(names.clip.length)}`, name)];
    }
    if (spec.derived === true && recognition.get(name) === undefined) return [];
    return [take(recognition, name, name)];
  });
  return checkpointSource(
    "experts of stages II and III",
    new Map(tensors.map((tensor) => [tensor.name, tensor])),
  );
}

/** What the first stages are put together from. */
export interface BaseSources {
  /** The language model, such as `llava-v1.5-7b`: tables, layers, norm, head, perhaps a projector. */
  readonly language: CheckpointSource;
  /** `mm_projector.bin` of stage I (names from `model.mm_projector.` or `mm_projector.` on). */
  readonly projector?: CheckpointSource;
  /** CLIP's own checkpoint (names from `vision_model.` on). */
  readonly clip?: CheckpointSource;
  /** SAM-Med2D's own file (names from `image_encoder.` on). */
  readonly sam?: CheckpointSource;
}

/**
 * The dense checkpoint that stages I and II start from, in the names of the release. Later sources go before the language
 * model's own copies. A token table and head with too few rows get new ones (normal, deviation 0.02, as
 * `resize_token_embeddings` makes them); what no source has starts from its initialiser.
 *
 * @param config Without experts (see {@linkcode denseConfig}).
 * @param seed Of everything new.
 * @throws {InputError} code `BAD_CONFIG` when a table has more rows than the vocabulary, `MISSING_TENSOR` when the language
 * model lacks a tensor of its layers.
 */
export async function assembleBase(
  { language, projector, clip, sam }: BaseSources,
  config: MedplibConfig,
  seed: number,
): Promise<CheckpointSource> {
  const find = (name: string): TensorEntry | undefined => {
    if (name.startsWith(names.projector)) {
      const found = projector?.get(name) ?? projector?.get(name.slice("model.".length));
      if (found !== undefined) return found;
    }
    const own = name.startsWith(names.clip)
      ? clip?.get(`vision_model.${name.slice(names.clip.length)}`)
      : name.startsWith(names.sam)
      ? sam?.get(name.slice(names.sam.length))
      : undefined;
    return own ?? language.get(name);
  };
  const tensors = new Map<string, TensorEntry>();
  for (const spec of medplibParameters(config)) {
    const found = find(spec.name);
    if (found !== undefined) {
      const isTable = /^(model\.embed_tokens|lm_head)\.weight$/.test(spec.name);
      const entry = renamedTensor(found, spec.name);
      tensors.set(spec.name, isTable ? await withRows(entry, spec, seed, language.name) : entry);
    } else if (/^model\.(layers|norm|embed_tokens)\b|^lm_head/.test(spec.name)) {
      if (spec.derived === true) continue;
      throw new InputError(
        "MISSING_TENSOR",
        `Cannot start from "${language.name}": it has no tensor "${spec.name}"`,
      );
    } else {
      tensors.set(spec.name, initialTensor(spec, seed));
    }
  }
  return checkpointSource(language.name, tensors);
}

/** A table with as many rows as the specification says, new ones from its initialiser. */
async function withRows(
  table: TensorEntry,
  spec: ParameterSpec,
  seed: number,
  name: string,
): Promise<TensorEntry> {
  const [rows, columns] = spec.shape as [number, number];
  const have = table.shape[0]!;
  if (have === rows) return table;
  if (have > rows) {
    throw new InputError(
      "BAD_CONFIG",
      `Cannot start from "${name}": "${spec.name}" has ${have} rows, more than the vocabulary of ${rows}`,
    );
  }
  const values = new Float32Array(rows * columns);
  values.set(toFloat32(await table.read(), table.dtype));
  values.set(initialValues(spec, seed, have, rows - have), have * columns);
  return memoryTensor(spec.name, "F32", spec.shape, fromFloat32(values, "F32"));
}
