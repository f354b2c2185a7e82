/**
 * Seeded random weights as a checkpoint, so that a model without files goes the same ways as one with them.
 *
 * @module
 */
import {
  type CheckpointSource,
  checkpointSource,
  fromFloat32,
  type TensorEntry,
} from "../checkpoint/mod.ts";
import { initialValues } from "./initialise.ts";
import { deferredTensor, type ParameterSpec } from "./parameters.ts";

/**
 * A checkpoint whose tensors are made from their initialisers when they are read. The values depend on the seed and the
 * parameter's name alone, up to rounding to the element type of the official files.
 *
 * @param name For messages.
 * @param seed Whole number from 0 to 2^53 - 1.
 */
export function initialSource(
  name: string,
  specs: readonly ParameterSpec[],
  seed: number,
): CheckpointSource {
  return checkpointSource(
    name,
    new Map(specs.map((spec) => [spec.name, initialEntry(spec, seed)])),
  );
}

/** A tensor made from its initialiser. */
export function initialEntry(spec: ParameterSpec, seed: number): TensorEntry {
  const rows = (first: number, count: number) =>
    Promise.resolve(fromFloat32(initialValues(spec, seed, first, count), spec.stored));
  return {
    ...deferredTensor(spec, () => rows(0, spec.shape[0] ?? 1)),
    readRows: rows,
  };
}
