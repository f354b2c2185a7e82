/**
 * Strided copies and fills on the device: what the operations that move values are made of.
 *
 * @module
 */
import { copyProgram, fillProgram, type Width } from "../kernels/movement.ts";
import type { Tensor } from "./tensor.ts";

/** Invocations per workgroup of the kernels here. */
const groupSize = 64;

/** Workgroups of the kernels here for so many invocations. */
export function groupsFor(count: number): readonly [number] {
  return [Math.ceil(count / groupSize)];
}

/** Four words per load where every number allows it. */
export function widthOf(...numbers: number[]): Width {
  return numbers.every((number) => number % 4 === 0) ? 4 : 1;
}

/** Words from which one contiguous block is copied without a kernel: that ends a pass, but runs at full bandwidth. */
const plainCopy = 2 ** 16;

/** Blocks of `inner` words, `outer` times, from and to every so many words; what is absent is 0. */
export interface StridedCopy {
  /** Number of blocks. */
  readonly outer: number;
  /** Words in a block. */
  readonly inner: number;
  /** First word read. */
  readonly sourceOffset?: number;
  /** Words between the blocks read. */
  readonly sourceStride?: number;
  /** First word written. */
  readonly targetOffset?: number;
  /** Words between the blocks written. */
  readonly targetStride?: number;
}

/** Copies blocks of words between tensors of equal word size; the rest of the target stays as it is. */
export function copyStrided(source: Tensor, target: Tensor, copy: StridedCopy): void {
  const size = copy.outer * copy.inner;
  if (size === 0) return;
  const { inner, sourceOffset = 0, sourceStride = 0, targetOffset = 0, targetStride = 0 } = copy;
  if (copy.outer === 1 && size >= plainCopy) {
    source.device.copy(
      { buffer: source.buffer, offset: 4 * sourceOffset },
      { buffer: target.buffer, offset: 4 * targetOffset },
      4 * size,
    );
    return;
  }
  const width = widthOf(inner, sourceOffset, sourceStride, targetOffset, targetStride);
  source.device.dispatch(
    copyProgram(width),
    { input: source.range, output: target.range },
    {
      count: size / width,
      inner: inner / width,
      sourceOffset: sourceOffset / width,
      sourceStride: sourceStride / width,
      targetOffset: targetOffset / width,
      targetStride: targetStride / width,
    },
    groupsFor(size / width),
    { bytes: 8 * size },
  );
}

/** Fills `count` words of a tensor from word `offset` on with a value of its dtype. */
export function fillWords(target: Tensor, offset: number, count: number, value: number): void {
  const word = new DataView(new ArrayBuffer(4));
  if (target.dtype === "f32") word.setFloat32(0, value);
  else if (target.dtype === "i32") word.setInt32(0, value);
  else word.setUint32(0, value);
  target.device.dispatch(
    fillProgram(),
    { output: target.range },
    { count, offset, bits: word.getUint32(0) },
    groupsFor(count),
    { bytes: 4 * count },
  );
}
