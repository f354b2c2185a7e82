/**
 * Which parameters decay, as pure functions of name and official shape, and groups made of them.
 *
 * @module
 */
import type { ParameterGroup, TrainedParameter } from "./optimiser.ts";

/** Whether a parameter of this official name and shape decays. */
export type DecayRule = (name: string, shape: readonly number[]) => boolean;

/**
 * The rule of LAVIS, MiniGPT-4, LiteGPT and PeFoMed (`runner_base.py`): no decay below two axes, nor where the NAME contains
 * `bias`, `ln` or `bn` anywhere.
 */
export function decaysUnlessNamed(name: string, shape: readonly number[]): boolean {
  return shape.length >= 2 && !/bias|ln|bn/.test(name);
}

/** Module names of lookup tables, which are told from linear layers by nothing else. */
const tableName = /(?:^|_)(?:embed|embeddings?|tokens?)$/;

/**
 * The rule of VividMed (`luolib/optim/utils.py`, which asks for the class of the module): weights of linear layers and
 * convolutions and `_proj_weight` of attention decay; biases, norms, tables and low-rank factors do not.
 */
export function decaysLinearWeights(name: string, shape: readonly number[]): boolean {
  if (shape.length < 2 || /\.lora_(?:embedding_)?[AB](?:\.|$)/.test(name)) return false;
  if (/(?:^|[._])\w*proj_weight$/.test(name)) return true;
  const path = name.split(".");
  if (path.pop() !== "weight") return false;
  // Entries of a list have the name of the list.
  const module = path.findLast((part) => !/^\d+$/.test(part)) ?? "";
  // A linear layer of SegVol's decoder, whatever its name says.
  return module === "txt_align_upscaled_embedding" || !tableName.test(module);
}

/** MedPLIB decays nothing (its DeepSpeed configuration sets 0). */
export function decaysNothing(): boolean {
  return false;
}

/**
 * Splits parameters into a group that decays and one that does not; groups without parameters are left out.
 *
 * @param shapeOf Official shape of a parameter. Default: that of its value.
 */
export function decayGroups(
  parameters: readonly TrainedParameter[],
  rule: DecayRule,
  weightDecay: number,
  {
    rateScale = 1,
    shapeOf = ({ value }) => "parts" in value ? [value.rows, value.columns] : value.shape,
  }: { rateScale?: number; shapeOf?: (parameter: TrainedParameter) => readonly number[] } = {},
): ParameterGroup[] {
  const decays = parameters.map((parameter) => rule(parameter.name, shapeOf(parameter)));
  return [
    { parameters: parameters.filter((_, i) => decays[i]), weightDecay, rateScale },
    { parameters: parameters.filter((_, i) => !decays[i]), weightDecay: 0, rateScale },
  ].filter(({ parameters }) => parameters.length > 0);
}
