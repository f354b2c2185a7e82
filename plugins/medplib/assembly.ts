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

/**
 * A checkpoint with more rows in its token table and head: new ones start from the initialiser (normal, deviation 0.02), as
 * `resize_token_embeddings` makes them.
 *
 * @param config Whose vocabulary is wanted.
 * @param seed Of the new rows.
 * @throws {InputError} code `BAD_CONFIG` when the checkpoint has more rows than wanted.
 */
export async function withVocabulary(
  source: CheckpointSource,
  config: MedplibConfig,
  seed: number,
): Promise<CheckpointSource> {
  const { vocabulary, hiddenSize } = config.llama;
  const tensors = new Map([...source.entries()].map((tensor) => [tensor.name, tensor]));
  for (const name of ["model.embed_tokens.weight", "lm_head.weight"]) {
    const old = tensors.get(name);
    const rows = old?.shape[0] ?? 0;
    if (old === undefined || rows === vocabulary) continue;
    if (rows > vocabulary) {
      throw new InputError(
        "BAD_CONFIG",
        `Cannot use "${source.name}": "${name}" has ${rows} rows, more than the vocabulary of ${vocabulary}`,
      );
    }
    const spec = medplibParameters(config).find((one) => one.name === name)!;
    const values = new Float32Array(vocabulary * hiddenSize);
    values.set(toFloat32(await old.read(), old.dtype));
    values.set(initialValues(spec, seed, rows, vocabulary - rows), rows * hiddenSize);
    tensors.set(
      name,
      memoryTensor(name, "F32", [vocabulary, hiddenSize], fromFloat32(values, "F32")),
    );
  }
  return checkpointSource(source.name, tensors);
}
