/**
 * What patches of a vision tower are matched with by name.
 *
 * @module
 */
import type { Mask } from "@medvlm/core";
import { findingNames } from "../phantoms/chest_report.ts";
import { type ChestPhantom, chestThings } from "../phantoms/mod.ts";
import { conceptNames, namedThings } from "./concepts.ts";

/** Names, and the pixels of a phantom that each belongs to. */
export interface PatchNames {
  /** All names, in the order of their embeddings. */
  readonly names: readonly string[];
  /** What is where. */
  of(phantom: ChestPhantom): readonly { readonly name: string; readonly mask: Mask }[];
}

/** The names of what can be asked for, each where it is. */
export const thingNames: PatchNames = {
  names: conceptNames,
  of(phantom) {
    const { structures, findings } = namedThings(chestThings(phantom));
    return [...structures, ...findings];
  },
};

const sides = ["right", "left"], zones = ["upper", "middle", "lower"];
/** Findings that lie in a lung. */
const inLungs = new Set([
  "Pleural effusion",
  "Pneumothorax",
  "Consolidation",
  "Nodule/Mass",
  "Atelectasis",
]);

/** A finding, the same with its side, the same with its zone. */
const somewhere = (...words: readonly (string | undefined)[]) =>
  ["some", ...words.filter((word) => word !== undefined)].join(" ");

/**
 * The same, and for every patch what is anywhere in the picture: findings, with their sides, with their zones. The patches of a
 * tower that was trained by contrast of whole pictures know of the whole picture too.
 */
export const pictureNames: PatchNames = {
  names: [
    ...thingNames.names,
    ...Object.entries(findingNames).flatMap(([label, name]) => [
      somewhere(name),
      ...(inLungs.has(label)
        ? sides.flatMap((side) => [
          somewhere(name, side),
          ...zones.map((zone) => somewhere(name, side, zone)),
        ])
        : []),
    ]),
  ],
  of(phantom) {
    const { width, height } = phantom.image;
    const mask = { width, height, data: new Uint8Array(width * height).fill(1) };
    const names = phantom.findings.flatMap(({ label, side, zone }) => {
      const name = findingNames[label];
      return [somewhere(name), somewhere(name, side), somewhere(name, side, zone)];
    });
    return [...thingNames.of(phantom), ...[...new Set(names)].map((name) => ({ name, mask }))];
  },
};
