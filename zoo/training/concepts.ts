/**
 * Names of what a chest phantom shows, and a table with an embedding of each: what encoders are taught with that must tell what
 * is what.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import { type Tensor, tensor } from "@medvlm/core/tensor";
import { findingNames } from "../phantoms/chest_report.ts";
import type { Thing } from "../phantoms/mod.ts";
import { Random } from "../phantoms/random.ts";
import { thingOf, union } from "../phantoms/thing_examples.ts";

const structureNames = ["right lung", "left lung", "heart", "aorta"];

/** Names that a radiograph can be asked for, in the order of the table. */
export const conceptNames: readonly string[] = [
  "lungs",
  ...structureNames,
  ...Object.values(findingNames),
];

/** Name of the table in checkpoints. */
export const conceptTable = "concepts.weight";

/** Marks the draws of the table. */
const CONCEPT_DRAWS = 0x6e616d65;

/**
 * A fresh table [count, width]. Belongs to whoever asked for it.
 *
 * @param deviation Of its elements. Default 1, as PyTorch starts tables.
 */
export function conceptEmbeddings(
  device: Device,
  width: number,
  seed: number,
  { count = conceptNames.length, deviation = 1 }: { count?: number; deviation?: number } = {},
): Tensor {
  const random = new Random(seed, 0, CONCEPT_DRAWS);
  const rows = Float32Array.from({ length: count * width }, () => deviation * random.normal());
  return tensor(device, rows, [count, width]);
}

/** Whether a thing is there in everyone. */
export function isStructure({ label }: Pick<Thing, "label">): boolean {
  return structureNames.includes(label);
}

/** What a picture shows, everything of one name together. */
export interface NamedThings {
  /** Normal structures, both lungs together first. */
  readonly structures: readonly Thing[];
  /** Findings. */
  readonly findings: readonly Thing[];
}

/** Several things as one; its class is its name. */
function together(name: string, things: readonly Thing[]): Thing[] {
  return things.length === 0 ? [] : thingOf(name, name, union(things.map(({ mask }) => mask)));
}

/** Puts the things of a picture together by their names. */
export function namedThings(things: readonly Thing[]): NamedThings {
  const structures = things.filter(isStructure);
  const findings = Map.groupBy(
    things.filter((thing) => !isStructure(thing)),
    ({ name }) => name,
  );
  const lungs = structures.filter(({ label }) => label.endsWith("lung"));
  return {
    structures: [...together("lungs", lungs), ...structures],
    findings: [...findings].flatMap(([name, some]) => together(name, some)),
  };
}
