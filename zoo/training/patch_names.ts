/**
 * What patches of a vision tower are matched with by name.
 *
 * @module
 */
import type { Mask } from "@medvlm/core";
import { findingNames } from "../phantoms/chest_report.ts";
import { type ChestLabel, type ChestPhantom, chestThings } from "../phantoms/mod.ts";
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
/** Findings on either side, and in which zones. */
const places: Readonly<Partial<Record<ChestLabel, readonly string[]>>> = {
  "Pleural effusion": [],
  Pneumothorax: [],
  Consolidation: zones,
  "Nodule/Mass": zones,
  Atelectasis: [],
};

/** A finding anywhere, or where it is said. */
const some = (name: string, place?: string) => place ? `some ${name} ${place}` : `some ${name}`;

/**
 * What is anywhere in the picture, for every patch of it: findings, with their sides, with their zones. The patches of a tower that
 * was trained by contrast of whole pictures know of the whole picture too.
 */
export const pictureNames: PatchNames = {
  names: Object.entries(findingNames).flatMap(([label, name]) => {
    const inZones = places[label as ChestLabel];
    return [undefined, ...inZones === undefined ? [] : [...sides, ...inZones]]
      .map((place) => some(name, place));
  }),
  of(phantom) {
    const { width, height } = phantom.image;
    const mask = { width, height, data: new Uint8Array(width * height).fill(1) };
    const said = phantom.findings.flatMap(({ label, side, zone }) => {
      const name = findingNames[label];
      return [some(name), some(name, side), some(name, zone)];
    });
    const known = new Set(said).intersection(new Set(pictureNames.names));
    return [...known].map((name) => ({ name, mask }));
  },
};

/** All names of several sources, which share none. */
export const namesTogether = (...sources: readonly PatchNames[]): PatchNames => ({
  names: sources.flatMap(({ names }) => names),
  of: (phantom) => sources.flatMap((source) => source.of(phantom)),
});

/** Pixels of a mask in the chosen cells of a grid with `side` rows and columns. */
function inCells(
  { width, height, data }: Mask,
  chosen: (row: number, column: number) => boolean,
  side: number,
): Mask {
  return {
    width,
    height,
    data: data.map((value, i) => {
      const row = Math.floor(Math.floor(i / width) * side / height);
      return chosen(row, Math.floor(i % width * side / width)) ? value : 0;
    }),
  };
}

const count = (to: number) => Array.from({ length: to }, (_, n) => n);
const findings = new Set(Object.values(findingNames));

/** Findings that are seen, those of a name together. */
const seenFindings = (phantom: ChestPhantom) =>
  thingNames.of(phantom).filter(({ name }) => findings.has(name));

/**
 * In which thirds of its height and of its width a patch shows each finding: a box has finer edges than patches.
 *
 * @param side Patches along a side of the picture.
 */
export function thirdNames(side: number): PatchNames {
  const row = (name: string, n: number) => `${name} in row ${n + 1} of 3`;
  const column = (name: string, n: number) => `${name} in column ${n + 1} of 3`;
  return {
    names: [...findings].flatMap((name) =>
      count(3).flatMap((n) => [row(name, n), column(name, n)])
    ),
    of: (phantom) =>
      seenFindings(phantom).flatMap(({ name, mask }) =>
        count(3).flatMap((n) => [
          { name: row(name, n), mask: inCells(mask, (y) => y % 3 === n, 3 * side) },
          { name: column(name, n), mask: inCells(mask, (_, x) => x % 3 === n, 3 * side) },
        ])
      ),
  };
}

/**
 * Where the rows that a language model sees are, each of several patches side by side; on which of its patches each finding is, and
 * in which thirds of them any: what a box is read from.
 *
 * @param side Patches along a side of the picture.
 * @param inRow Patches in a row.
 */
export function placeNames(side: number, inRow: number): PatchNames {
  const on = (name: string, n: number) => `${name} on patch ${n + 1}`;
  const line = (n: number) => `line ${n + 1}`, group = (n: number) => `group ${n + 1}`;
  const row = (n: number, third: number) => `patch ${n + 1}, row ${third + 1} of 3`;
  const column = (n: number, third: number) => `patch ${n + 1}, column ${third + 1} of 3`;
  return {
    names: [
      ...[...findings].flatMap((name) => count(inRow).map((n) => on(name, n))),
      ...count(side).map(line),
      ...count(side / inRow).map(group),
      ...count(inRow).flatMap((n) =>
        count(3).flatMap((third) => [row(n, third), column(n, third)])
      ),
    ],
    of(phantom) {
      const { width, height } = phantom.image;
      const all = { width, height, data: new Uint8Array(width * height).fill(1) };
      const seen = seenFindings(phantom);
      const patch = (mask: Mask, n: number) => inCells(mask, (_, x) => x % inRow === n, side);
      return [
        ...seen.flatMap(({ name, mask }) =>
          count(inRow).map((n) => ({ name: on(name, n), mask: patch(mask, n) }))
        ),
        ...count(side).map((n) => ({ name: line(n), mask: inCells(all, (y) => y === n, side) })),
        ...count(side / inRow).map((n) => ({
          name: group(n),
          mask: inCells(all, (_, x) => Math.floor(x / inRow) === n, side),
        })),
        ...seen.flatMap(({ mask }) =>
          count(inRow).flatMap((n) => {
            const here = patch(mask, n);
            return count(3).flatMap((third) => [
              { name: row(n, third), mask: inCells(here, (y) => y % 3 === third, 3 * side) },
              { name: column(n, third), mask: inCells(here, (_, x) => x % 3 === third, 3 * side) },
            ]);
          })
        ),
      ];
    },
  };
}
