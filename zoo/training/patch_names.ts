/**
 * What patches of a vision tower are matched with by name.
 *
 * @module
 */
import type { Box, Mask } from "@medvlm/core";
import { pixelsToGrid } from "@medvlm/core/text";
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

/** Sides of a picture in pixels. */
type Size = Pick<Mask, "width" | "height">;

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

const count = (to: number) => Array.from({ length: to }, (_, n) => n);

/** The pixels of a rectangle. */
function rectangle({ width, height }: Size, [left, top, right, bottom]: Box): Mask {
  const data = new Uint8Array(width * height);
  for (let y = top; y < bottom; y++) data.fill(1, y * width + left, y * width + right);
  return { width, height, data };
}

/**
 * An edge of a box: a box one pixel wide, on which patch it is, counted along the picture, in which third of that, and the number
 * that the box's text has for it.
 */
interface Edge {
  readonly side: "left" | "right" | "top" | "bottom";
  readonly box: Box;
  readonly patch: number;
  readonly third: number;
  readonly written: number;
}

/** The four edges of a box, each one pixel wide inside of it. @param grid Patches along a side of the picture. */
export function edgesOf({ width, height }: Size, whole: Box, grid: number): Edge[] {
  const [left, top, right, bottom] = whole;
  const [x1, y1, x2, y2] = pixelsToGrid(whole, width, height);
  const edge = (side: Edge["side"], box: Box, written: number): Edge => {
    const [at, length] = side === "left" || side === "right" ? [box[0], width] : [box[1], height];
    const thirds = Math.floor(at * 3 * grid / length);
    return { side, box, patch: Math.floor(thirds / 3), third: thirds % 3, written };
  };
  return [
    edge("left", [left, top, left + 1, bottom], x1),
    edge("right", [right - 1, top, right, bottom], x2),
    edge("top", [left, top, right, top + 1], y1),
    edge("bottom", [left, bottom - 1, right, bottom], y2),
  ];
}

const findings = [...new Set(Object.values(findingNames))];
const across = ["left", "right"] as const, along = ["top", "bottom"] as const;

const digitName = (side: Edge["side"], place: number, digit: number | string) =>
  `${["first", "second"][place]} digit ${digit} of ${side} edge`;

const foundEdges = ({ image, findings }: ChestPhantom, grid: number) =>
  findings.flatMap(({ label, box }) =>
    edgesOf(image, box, grid).map(({ box, ...edge }) => ({
      ...edge,
      name: findingNames[label],
      mask: rectangle(image, box),
    }))
  );

/**
 * Which patches the edges of each finding's box run through, and in which third of a patch any edge does: a box has finer edges
 * than patches, and who must tell where a region ends by looking at all of its patches has a harder task.
 *
 * @param grid Patches along a side of the picture.
 */
export function edgeNames(grid: number): PatchNames {
  const of = (name: string, side: string) => `${side} edge of ${name}`;
  const third = (side: string, n: number) => `${side} edge in third ${n + 1}`;
  const sides = [...across, ...along];
  return {
    names: [
      ...findings.flatMap((name) => sides.map((side) => of(name, side))),
      ...sides.flatMap((side) => count(3).map((n) => third(side, n))),
    ],
    of: (phantom) =>
      foundEdges(phantom, grid).flatMap(({ name, side, mask, third: n }) => [
        { name: of(name, side), mask },
        { name: third(side, n), mask },
      ]),
  };
}

/**
 * Which digits the text of a box has for any edge, on the patches that the edge runs through. To know them takes the place of the
 * patch and that of the edge within it together; a language model that is to write them has only to copy what the tower says.
 */
export const digitNames: PatchNames = {
  names: [...across, ...along].flatMap((side) =>
    [0, 1].flatMap((place) => count(10).map((digit) => digitName(side, place, digit)))
  ),
  of: (phantom) =>
    foundEdges(phantom, 1).flatMap(({ side, mask, written }) =>
      [...String(written)].slice(0, 2).map((digit, place) => ({
        name: digitName(side, place, digit),
        mask,
      }))
    ),
};

/**
 * Where the rows that a language model sees are, each of several patches side by side, and which edges run through them, with
 * their digits: for those to the left and right on which of the patches, too. What a box is read from.
 *
 * @param grid Patches along a side of the picture.
 * @param inRow Patches in a row.
 */
export function placeNames(grid: number, inRow: number): PatchNames {
  const patch = (n: number) => ` on patch ${n + 1}`;
  const of = (name: string, side: string, on = "") => `${side} edge of ${name}${on}`;
  const line = (n: number) => `line ${n + 1}`, group = (n: number) => `group ${n + 1}`;
  const patches = count(inRow).map(patch);
  return {
    names: [
      ...findings.flatMap((name) => [
        ...along.map((side) => of(name, side)),
        ...across.flatMap((side) => patches.map((on) => of(name, side, on))),
      ]),
      ...digitNames.names,
      ...count(grid).map(line),
      ...count(grid / inRow).map(group),
    ],
    of(phantom) {
      const { image } = phantom, { width, height } = image;
      const from = (n: number, parts: number, length: number) => Math.ceil(n * length / parts);
      return [
        ...foundEdges(phantom, grid).map(({ name, side, mask, patch: at }) => {
          const on = side === "left" || side === "right" ? patch(at % inRow) : "";
          return { name: of(name, side, on), mask };
        }),
        ...digitNames.of(phantom),
        ...count(grid).map((n) => ({
          name: line(n),
          mask: rectangle(image, [0, from(n, grid, height), width, from(n + 1, grid, height)]),
        })),
        ...count(grid / inRow).map((n) => ({
          name: group(n),
          mask: rectangle(image, [
            from(n, grid / inRow, width),
            0,
            from(n + 1, grid / inRow, width),
            height,
          ]),
        })),
      ];
    },
  };
}
