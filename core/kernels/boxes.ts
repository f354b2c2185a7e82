/**
 * Overlap of axis-aligned boxes inside kernels, in 2D and 3D: generalised IoU and its derivatives.
 *
 * Boxes are `2 * dims` numbers, either corners (all smallest coordinates, then all largest) or centre and size. The smallest
 * float32 step is added to both denominators, and at equal coordinates either box gets half of the gradient of min and max, as
 * the official losses do.
 *
 * Source: Rezatofighi et al., CVPR 2019; MONAI `monai/data/box_utils.py` (`box_pair_giou`); VividMed `InstanceSamLoss.box_loss`.
 *
 * @module
 */

/** Axes of a box. */
export type BoxDims = 2 | 3;

/** What is added to the denominators of IoU and GIoU: the smallest step of float32 at 1. */
export const boxEpsilon = 2 ** -23;

const epsilon = "1.1920929e-7";

/**
 * WGSL of boxes as `array<f32, 2 * dims>` (type `Box2` or `Box3`), names ending in the number of axes:
 * `corners3(centreSize) -> Box3`, `giou3(a, b) -> f32` on corners, `giouGradient3(a, b) -> Box3` the derivatives by the corners of
 * `a` (those by `b` are `giouGradient3(b, a)`), `centreSizeGradient3(byCorners) -> Box3` the same by centre and size.
 */
export function giouWgsl(dims: BoxDims): string {
  // Runtimes index arrays that are values by constants only, so the axes are written out.
  const axes = Array.from({ length: dims }, (_, i) => i);
  const each = (line: (i: number, j: number) => string) =>
    axes.map((i) => "  " + line(i, dims + i)).join("\n");
  const product = (name: string, left = -1) =>
    axes.filter((i) => i !== left).map((i) => `${name}[${i}]`).join(" * ");
  const box = `Box${dims}`, sides = `array<f32, ${dims}>`;
  return /* wgsl */ `
alias ${box} = array<f32, ${2 * dims}>;
struct Overlap${dims} {
  // Sides of the intersection, of the hull and of both boxes.
  mutual: ${sides}, around: ${sides}, sideA: ${sides}, sideB: ${sides},
  intersection: f32, covered: f32, hull: f32,
}
fn corners${dims}(box: ${box}) -> ${box} {
  var result: ${box};
${
    each((i, j) =>
      `result[${i}] = box[${i}] - 0.5 * box[${j}]; result[${j}] = box[${i}] + 0.5 * box[${j}];`
    )
  }
  return result;
}
fn overlap${dims}(a: ${box}, b: ${box}) -> Overlap${dims} {
  var o: Overlap${dims};
${each((i, j) => `o.mutual[${i}] = max(0.0, min(a[${j}], b[${j}]) - max(a[${i}], b[${i}]));`)}
${each((i, j) => `o.around[${i}] = max(0.0, max(a[${j}], b[${j}]) - min(a[${i}], b[${i}]));`)}
${each((i, j) => `o.sideA[${i}] = a[${j}] - a[${i}]; o.sideB[${i}] = b[${j}] - b[${i}];`)}
  o.intersection = ${product("o.mutual")};
  o.covered = ${product("o.sideA")} + ${product("o.sideB")} - o.intersection;
  o.hull = ${product("o.around")};
  return o;
}
fn giou${dims}(a: ${box}, b: ${box}) -> f32 {
  let o = overlap${dims}(a, b);
  return o.intersection / (o.covered + ${epsilon}) - (o.hull - o.covered) / (o.hull + ${epsilon});
}
// The part of min(a, b) that follows a, at equal values half of it.
fn follows${dims}(a: f32, b: f32) -> f32 { return select(select(0.0, 1.0, a < b), 0.5, a == b); }
fn giouGradient${dims}(a: ${box}, b: ${box}) -> ${box} {
  let o = overlap${dims}(a, b);
  let covered = o.covered + ${epsilon};
  let hull = o.hull + ${epsilon};
  let byCovered = 1.0 / hull - o.intersection / covered / covered;
  let byMutual = 1.0 / covered - byCovered;
  let byHull = -covered / hull / hull;
  var result: ${box};
${
    each((i, j) =>
      `{
    let side = byCovered * ${product("o.sideA", i)};
    let overlaps = min(a[${j}], b[${j}]) >= max(a[${i}], b[${i}]);
    let mutual = select(0.0, byMutual * ${product("o.mutual", i)}, overlaps);
    let ordered = max(a[${j}], b[${j}]) >= min(a[${i}], b[${i}]);
    let around = select(0.0, byHull * ${product("o.around", i)}, ordered);
    result[${i}] = -side - mutual * follows${dims}(b[${i}], a[${i}]) - around * follows${dims}(a[${i}], b[${i}]);
    result[${j}] = side + mutual * follows${dims}(a[${j}], b[${j}]) + around * follows${dims}(b[${j}], a[${j}]);
  }`
    )
  }
  return result;
}
fn centreSizeGradient${dims}(byCorners: ${box}) -> ${box} {
  var result: ${box};
${
    each((i, j) =>
      `result[${i}] = byCorners[${i}] + byCorners[${j}]; result[${j}] = 0.5 * (byCorners[${j}] - byCorners[${i}]);`
    )
  }
  return result;
}
`;
}

/** Corners of a box given by centre and size. */
export function boxCorners(box: ArrayLike<number>): Float64Array {
  const dims = box.length / 2;
  return Float64Array.from(
    { length: box.length },
    (_, i) => i < dims ? box[i]! - box[dims + i]! / 2 : box[i - dims]! + box[i]! / 2,
  );
}

interface Overlap {
  readonly mutual: Float64Array;
  readonly around: Float64Array;
  readonly sideA: Float64Array;
  readonly sideB: Float64Array;
}

function overlap(a: ArrayLike<number>, b: ArrayLike<number>): Overlap {
  const dims = a.length / 2;
  const sides = (side: (i: number, j: number) => number) =>
    Float64Array.from({ length: dims }, (_, i) => side(i, dims + i));
  return {
    mutual: sides((i, j) => Math.max(0, Math.min(a[j]!, b[j]!) - Math.max(a[i]!, b[i]!))),
    around: sides((i, j) => Math.max(0, Math.max(a[j]!, b[j]!) - Math.min(a[i]!, b[i]!))),
    sideA: sides((i, j) => a[j]! - a[i]!),
    sideB: sides((i, j) => b[j]! - b[i]!),
  };
}

const product = (sides: Float64Array, left = -1) =>
  sides.reduce((size, side, i) => i === left ? size : size * side, 1);

/** The sizes that GIoU is made of. */
function sizes({ mutual, around, sideA, sideB }: Overlap) {
  const both = product(mutual);
  return { both, covered: product(sideA) + product(sideB) - both, hull: product(around) };
}

/** GIoU of two boxes given by corners, -1 to 1. Both have 2 * dims numbers. */
export function giouOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const { both, covered, hull } = sizes(overlap(a, b));
  return both / (covered + boxEpsilon) - (hull - covered) / (hull + boxEpsilon);
}

/** The part of min(a, b) that follows a. */
const follows = (a: number, b: number) => a < b ? 1 : a === b ? 0.5 : 0;

/** Derivatives of {@linkcode giouOf} by the corners of `a`. */
export function giouGradientOf(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  const o = overlap(a, b), { both, covered, hull } = sizes(o);
  const dims = a.length / 2, result = new Float64Array(a.length);
  const byCovered = 1 / (hull + boxEpsilon) - both / (covered + boxEpsilon) ** 2;
  const byShared = 1 / (covered + boxEpsilon) - byCovered;
  const byAround = -(covered + boxEpsilon) / (hull + boxEpsilon) ** 2;
  for (let i = 0, j = dims; i < dims; i++, j++) {
    const touching = Math.min(a[j]!, b[j]!) >= Math.max(a[i]!, b[i]!);
    const ordered = Math.max(a[j]!, b[j]!) >= Math.min(a[i]!, b[i]!);
    const bySide = byCovered * product(o.sideA, i);
    const byOverlap = touching ? byShared * product(o.mutual, i) : 0;
    const byHull = ordered ? byAround * product(o.around, i) : 0;
    result[i] = -bySide - byOverlap * follows(b[i]!, a[i]!) - byHull * follows(a[i]!, b[i]!);
    result[j] = bySide + byOverlap * follows(a[j]!, b[j]!) + byHull * follows(b[j]!, a[j]!);
  }
  return result;
}

/** Derivatives by centre and size, from those by corners. */
export function centreSizeGradientOf(byCorners: ArrayLike<number>): Float64Array {
  const dims = byCorners.length / 2;
  return Float64Array.from(
    { length: byCorners.length },
    (_, i) =>
      i < dims ? byCorners[i]! + byCorners[dims + i]! : (byCorners[i]! - byCorners[i - dims]!) / 2,
  );
}
