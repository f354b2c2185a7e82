/**
 * Where labels go: near what they name, inside the picture, and not on each other.
 *
 * @module
 */
import type { Rectangle } from "./canvas.ts";

/** Pixels that two rectangles share. */
function overlap(a: Rectangle, b: Rectangle): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}

/** Pixels of a rectangle that others cover, counted once for each. */
function covered(r: Rectangle, others: readonly Rectangle[]): number {
  return others.reduce((sum, other) => sum + overlap(r, other), 0);
}

/** The rectangle moved into the picture; wider or higher ones begin at its corner. */
function moveInside(r: Rectangle, width: number, height: number): Rectangle {
  return {
    ...r,
    x: Math.max(0, Math.min(r.x, width - r.width)),
    y: Math.max(0, Math.min(r.y, height - r.height)),
  };
}

/** What a label names, and the room it needs. */
export interface LabelRequest {
  /** Size of the label in pixels. */
  readonly size: { readonly width: number; readonly height: number };
  /** Bounds of what it names. */
  readonly target: Rectangle;
  /** Where its middle would best be when it is no wider than the target; else, or when left out, at the upper edge of that. */
  readonly centre?: { readonly x: number; readonly y: number };
}

function candidates({ size, target, centre }: LabelRequest): Rectangle[] {
  const { x, y, width, height } = target;
  const right = x + width - size.width, below = y + height;
  const edge = [
    [x, y - size.height],
    [right, y - size.height],
    [x, below],
    [right, below],
    [x, y],
    [right, y],
    [x, below - size.height],
    [right, below - size.height],
  ];
  const middle = centre ?? { x: x + width / 2, y: y + height / 2 };
  const inner = [0, -2, 2].map((lines) => [
    Math.round(middle.x - size.width / 2),
    Math.round(middle.y + (lines - 1) * size.height / 2),
  ]);
  // Across something narrower a label would hide what is beside it.
  const ordered = centre && size.width <= width ? [...inner, ...edge] : [...edge, ...inner];
  return ordered.map(([left, top]) => ({ ...size, x: left, y: top }));
}

/**
 * Chooses a place for each label in turn: the first usual one that is free, else the free one nearest to the target,
 * else the one that covers least of the earlier labels.
 *
 * @param width Width of the picture.
 * @param height Height of the picture.
 * @returns One rectangle per request, inside the picture wherever it fits.
 */
export function placeLabels(
  requests: readonly LabelRequest[],
  width: number,
  height: number,
): Rectangle[] {
  const placed: Rectangle[] = [];
  for (const request of requests) {
    const usual = candidates(request).map((r) => moveInside(r, width, height));
    const free = usual.find((r) => covered(r, placed) === 0) ??
      nearestFree(usual[0], width, height, placed);
    placed.push(free);
  }
  return placed;
}

/**
 * Searches places that touch the border or an earlier label. A free place can always be pushed left and up until it
 * does, so that none is missed.
 */
function nearestFree(
  wish: Rectangle,
  width: number,
  height: number,
  placed: readonly Rectangle[],
): Rectangle {
  const lastX = Math.max(0, width - wish.width), lastY = Math.max(0, height - wish.height);
  const inside = (values: number[], last: number) =>
    [...new Set(values)].filter((value) => value >= 0 && value <= last);
  const columns = [wish.x, 0, lastX, ...placed.flatMap((r) => [r.x + r.width, r.x - wish.width])];
  const rows = [wish.y, 0, lastY, ...placed.flatMap((r) => [r.y + r.height, r.y - wish.height])];
  const xs = inside(columns, lastX);
  let best = wish, bestCost = Infinity;
  for (const y of inside(rows, lastY)) {
    for (const x of xs) {
      const distance = Math.hypot(x - wish.x, y - wish.y);
      if (distance >= bestCost) continue;
      const place = { ...wish, x, y };
      // Any distance is better than any overlap.
      const cost = distance + covered(place, placed) * (width + height);
      if (cost < bestCost) {
        bestCost = cost;
        best = place;
      }
    }
  }
  return best;
}
