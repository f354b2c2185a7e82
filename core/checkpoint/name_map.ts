/**
 * Compares the tensors of a checkpoint with the ones a model expects, and gives checkpoints other names.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { type CheckpointSource, checkpointSource } from "./source.ts";
import { renamedTensor, type TensorEntry } from "./tensor_data.ts";

/** A tensor that a model expects. */
export interface ExpectedTensor {
  /** Name in the checkpoint. */
  name: string;
  /** Sizes, outermost first. */
  shape: readonly number[];
  /** May be absent; its shape must fit when it is there. */
  optional?: boolean;
}

/** Options of {@link checkTensors}. */
export interface CheckOptions {
  /** Names of the checkpoint that may be unexpected. */
  ignore?: readonly RegExp[];
}

/** Names listed of each kind before the rest is only counted. */
const LISTED = 40;

/**
 * Checks that a checkpoint holds exactly the expected tensors.
 *
 * @throws {InputError} code `CHECKPOINT_MISMATCH`; its message names every missing, unexpected and mis-shaped tensor
 * (up to 40 of each kind) with its shape or both shapes.
 */
export function checkTensors(
  source: CheckpointSource,
  expected: Iterable<ExpectedTensor>,
  { ignore = [] }: CheckOptions = {},
): void {
  const missing: string[] = [], shapes: string[] = [];
  const known = new Set<string>();
  for (const { name, shape, optional } of expected) {
    known.add(name);
    const tensor = source.get(name);
    if (tensor === undefined) {
      if (!optional) missing.push(`${name} [${shape}]`);
    } else if (String(tensor.shape) !== String(shape) || tensor.shape.length !== shape.length) {
      shapes.push(`${name} is [${tensor.shape}], expected [${shape}]`);
    }
  }
  const unexpected: string[] = [];
  for (const { name, shape } of source.entries()) {
    // search() takes no notice of the state of global or sticky expressions.
    if (known.has(name) || ignore.some((pattern) => name.search(pattern) >= 0)) continue;
    unexpected.push(`${name} [${shape}]`);
  }
  const parts = [
    list("missing", missing),
    list("unexpected", unexpected),
    list("of another shape", shapes),
  ].filter((part) => part !== "");
  if (parts.length > 0) {
    throw new InputError(
      "CHECKPOINT_MISMATCH",
      `Cannot load "${source.name}": its tensors are not those of the model; ${parts.join("; ")}`,
    );
  }
}

function list(kind: string, names: readonly string[]): string {
  if (names.length === 0) return "";
  const rest = names.length - LISTED;
  const more = rest > 0 ? ` and ${rest} more` : "";
  return `${names.length} ${kind}: ${names.slice(0, LISTED).join(", ")}${more}`;
}

/**
 * The same checkpoint under other names. Disposing it disposes the original.
 *
 * @param rename Gives the new name of a tensor, or undefined to leave it out.
 * @throws {InputError} code `INVALID_NAME` when two tensors would get the same name.
 */
export function renameTensors(
  source: CheckpointSource,
  rename: (name: string) => string | undefined,
): CheckpointSource {
  const tensors = new Map<string, TensorEntry>();
  for (const tensor of source.entries()) {
    const name = rename(tensor.name);
    if (name === undefined) continue;
    if (tensors.has(name)) {
      throw new InputError(
        "INVALID_NAME",
        `Cannot load "${source.name}": two of its tensors stand for "${name}"`,
      );
    }
    tensors.set(name, renamedTensor(tensor, name));
  }
  return checkpointSource(source.name, tensors, () => source[Symbol.dispose]());
}
