/**
 * From the weights of a finished run to a checkpoint folder in the official layout.
 *
 * @module
 */
import { checkTensors, openCheckpoint, saveShardedSafetensors } from "@medvlm/core/checkpoint";
import { deepFolder } from "../deep_folder.ts";
import { makeCompanions, type MedplibConfig, medplibParameters } from "@medvlm/medplib/parts";

/**
 * Writes `model.safetensors` in half precision, the configuration and the tokenizer.
 *
 * @param weights File of the last part.
 * @param folder Where to; made when it is missing.
 * @returns Bytes of the tensors.
 * @throws {InputError} code `CHECKPOINT_MISMATCH` when the weights are not those of the configuration.
 */
export async function releaseMedplib(
  weights: string,
  config: MedplibConfig,
  folder: string,
): Promise<number> {
  using source = await openCheckpoint(weights);
  checkTensors(source, medplibParameters(config));
  const target = deepFolder(folder);
  const companions = makeCompanions(config);
  for (const [name, bytes] of companions) await target.write(name, [bytes]);
  const { totalBytes } = await saveShardedSafetensors(target, source.entries(), {
    dtype: ({ name }) => name.endsWith("inv_freq") ? "F32" : "F16",
  });
  return totalBytes;
}
