/**
 * Exact Euclidean distances on a grid (Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions", 2012):
 * one pass per axis, linear in the number of voxels.
 *
 * @module
 */

/**
 * The squared distance of every voxel to the nearest marked one; Infinity when none is marked.
 *
 * @param marks 1 at marked voxels, row-major
 * @param spacing size of a voxel along every axis
 */
export function squaredDistances(
  marks: Uint8Array,
  shape: readonly number[],
  spacing: readonly number[],
): Float64Array {
  const squared = Float64Array.from(marks, (mark) => mark === 1 ? 0 : Infinity);
  const longest = Math.max(...shape);
  const line = new Float64Array(longest);
  const apex = new Int32Array(longest), from = new Float64Array(longest + 1);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; stride *= shape[axis--]) {
    const length = shape[axis], step = spacing[axis] ** 2;
    for (let i = 0; i < squared.length; i++) {
      if (Math.floor(i / stride) % length !== 0) continue;
      for (let j = 0; j < length; j++) line[j] = squared[i + j * stride];
      lowerEnvelope(line, length, step, apex, from, (j, value) => squared[i + j * stride] = value);
    }
  }
  return squared;
}

/** The lowest of the parabolas line[k] + step (j - k)^2 at every j. */
function lowerEnvelope(
  line: Float64Array,
  length: number,
  step: number,
  apex: Int32Array,
  from: Float64Array,
  set: (j: number, value: number) => void,
): void {
  let last = -1;
  for (let k = 0; k < length; k++) {
    if (line[k] === Infinity) continue;
    let start = -Infinity;
    while (last >= 0) {
      const other = apex[last];
      start = (line[k] - line[other] + step * (k * k - other * other)) / (2 * step * (k - other));
      if (start > from[last]) break;
      last--;
    }
    apex[++last] = k;
    from[last] = last === 0 ? -Infinity : start;
  }
  if (last < 0) return;
  from[last + 1] = Infinity;
  for (let j = 0, place = 0; j < length; j++) {
    while (from[place + 1] < j) place++;
    set(j, line[apex[place]] + step * (j - apex[place]) ** 2);
  }
}
