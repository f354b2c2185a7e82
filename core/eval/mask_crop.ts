/**
 * Cutting two masks down to where they are.
 *
 * @module
 */

/** A mask with its shape, row-major: the last axis varies fastest. Zero is background. */
export interface ShapedMask {
  /** One value per voxel, zero for background. */
  readonly data: ArrayLike<number>;
  /** Number of voxels along every axis. */
  readonly shape: readonly number[];
}

/** Two masks cut to the same box; 1 inside, 0 outside. */
export interface CroppedPair {
  readonly shape: readonly number[];
  readonly prediction: Uint8Array;
  readonly truth: Uint8Array;
}

function checkShapes({ data, shape }: ShapedMask, other: ShapedMask): void {
  const count = shape.reduce((product, size) => product * size, 1);
  const same = shape.length === other.shape.length && shape.every((n, i) => n === other.shape[i]);
  if (!same || data.length !== count || other.data.length !== count || shape.length === 0) {
    throw new RangeError(
      `Cannot compare masks of shapes [${shape}] and [${other.shape}] with ${data.length} and ${other.data.length} voxels: expected the same shape`,
    );
  }
}

/**
 * Both masks in the smallest box around them, with a margin of one background voxel; undefined when both are empty.
 *
 * @throws {RangeError} for masks of different shapes, or data that do not fit the shape.
 */
export function cropPair(prediction: ShapedMask, truth: ShapedMask): CroppedPair | undefined {
  checkShapes(prediction, truth);
  const { shape } = prediction, dims = shape.length;
  const low = shape.map(() => Infinity), high = shape.map(() => -1);
  const place = new Array<number>(dims).fill(0);
  const next = (limits: readonly number[]) => {
    for (let axis = dims - 1; axis >= 0 && ++place[axis] === limits[axis]; axis--) place[axis] = 0;
  };
  for (let i = 0; i < truth.data.length; i++, next(shape)) {
    if (prediction.data[i] === 0 && truth.data[i] === 0) continue;
    for (let axis = 0; axis < dims; axis++) {
      low[axis] = Math.min(low[axis], place[axis]);
      high[axis] = Math.max(high[axis], place[axis]);
    }
  }
  if (high[0] < 0) return undefined;
  const size = shape.map((_, axis) => high[axis] - low[axis] + 3);
  const count = size.reduce((product, one) => product * one, 1);
  const cropped = {
    shape: size,
    prediction: new Uint8Array(count),
    truth: new Uint8Array(count),
  };
  place.fill(0);
  for (let i = 0; i < count; i++, next(size)) {
    let from = 0, inside = true;
    for (let axis = 0; axis < dims; axis++) {
      const at = low[axis] + place[axis] - 1;
      inside &&= at >= low[axis] && at <= high[axis];
      from = from * shape[axis] + at;
    }
    if (!inside) continue;
    cropped.prediction[i] = prediction.data[from] === 0 ? 0 : 1;
    cropped.truth[i] = truth.data[from] === 0 ? 0 : 1;
  }
  return cropped;
}
