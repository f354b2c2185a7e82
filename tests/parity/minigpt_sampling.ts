/**
 * The processors of sampling in the reference case of the family's decoder: repetition penalty, temperature, the most probable
 * tokens up to a mass.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import { penaliseRepetition, tensor } from "@medvlm/core/tensor";
import { keptWeights } from "../../core/kernels/sampling.ts";
import type { CaseFiles } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";

/** The numbers that a case's text says: "after repetition penalty 1.05, then temperature 0.6, then top-p 0.9". */
function settings(text: string): { penalty: number; temperature: number; topP: number } {
  const after = (words: string, otherwise: number) =>
    Number(new RegExp(`${words} (\\d+(?:\\.\\d+)?)`).exec(text)?.[1] ?? otherwise);
  return {
    penalty: after("repetition penalty", 1.05),
    temperature: after("temperature", 0.6),
    topP: after("top-p", 0.9),
  };
}

/** Compares `proc.*`. What is left out is minus infinity in the case and a weight of 0 here. */
export async function compareProcessors(
  files: CaseFiles,
  report: Report,
  device: Device,
  tolerance: Tolerance,
): Promise<void> {
  if (!files.inputs.has("proc.scores")) return;
  const { penalty, temperature, topP } = settings(JSON.stringify(files.case.expected));
  const { shape: [rows, columns], values: scores } = await files.inputs.get("proc.scores");
  const { shape: [, length], values: ids } = await files.inputs.get("proc.history");
  const expected = async (name: string, row: number) =>
    (await files.expected.get(`proc.${name}`)).values.slice(row * columns!, (row + 1) * columns!);
  for (let row = 0; row < rows!; row++) {
    using _scope = device.scope();
    const own = Float32Array.from(scores.slice(row * columns!, (row + 1) * columns!));
    const logits = tensor(device, own, [1, columns!]);
    const history = Uint32Array.from(ids.slice(row * length!, (row + 1) * length!));
    penaliseRepetition(
      logits,
      tensor(device, history),
      tensor(device, Uint32Array.of(history.length)),
      penalty,
    );
    const penalised = await logits.readFloats();
    report.close(`proc.repetition ${row}`, penalised, await expected("repetition", row), tolerance);
    const cooled = penalised.map((value) => value / temperature);
    report.close(`proc.temperature ${row}`, cooled, await expected("temperature", row), tolerance);
    const weights = keptWeights(penalised, columns!, {
      inverseTemperature: 1 / temperature,
      topP,
      topK: 0,
    });
    const kept = cooled.map((value, i) => weights[i] === 0 ? -Infinity : value);
    report.close(`proc.top_p ${row}`, kept, await expected("top_p", row), tolerance);
    const mass = weights.reduce((sum, one) => sum + one, 0);
    const probabilities = weights.map((weight) => weight / mass);
    report.close(`proc.probs ${row}`, probabilities, await expected("probs", row), tolerance);
  }
}
