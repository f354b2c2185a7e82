/**
 * NIfTI-1 files of volumes (https://nifti.nimh.nih.gov/nifti-1, nifti1.h), gzipped.
 *
 * @module
 */
import { gzipSync } from "fflate";

/** A volume to write; the first index is the fastest. */
export interface NiftiVolume {
  /** Voxels in x, y and z. */
  readonly size: readonly [number, number, number];
  /** Distances of voxels in millimetres. */
  readonly spacing: readonly [number, number, number];
  /** From voxel indices to millimetres to the patient's left, back and up (DICOM's directions), three rows of four. */
  readonly affine: readonly (readonly [number, number, number, number])[];
  /** 8-bit values, such as masks, or 16-bit values with sign, such as Hounsfield units. */
  readonly data: Uint8Array | Int16Array;
}

const HEADER = 352;

/** A `.nii` file. NIfTI's first two directions are right to left and back to front: the opposite of DICOM's. */
export function niftiFile({ size, spacing, affine, data }: NiftiVolume): Uint8Array {
  const wide = data instanceof Int16Array;
  const out = new Uint8Array(HEADER + data.length * (wide ? 2 : 1)),
    view = new DataView(out.buffer);
  const rows = affine.map((row, axis) => axis < 2 ? row.map((value) => -value) : [...row]);
  view.setInt32(0, 348, true);
  [3, ...size, 1, 1, 1, 1].forEach((value, i) => view.setInt16(40 + 2 * i, value, true));
  view.setInt16(70, wide ? 4 : 2, true);
  view.setInt16(72, wide ? 16 : 8, true);
  // Columns of the turned x and y directions: half a turn about the z axis, the quaternion (0, 0, 1).
  [1, ...spacing, 0, 0, 0, 0].forEach((value, i) => view.setFloat32(76 + 4 * i, value, true));
  view.setFloat32(108, HEADER, true);
  view.setFloat32(112, 1, true);
  // Millimetres.
  out[123] = 2;
  view.setInt16(252, 1, true);
  view.setInt16(254, 1, true);
  view.setFloat32(264, 1, true);
  rows.forEach((row, axis) => view.setFloat32(268 + 4 * axis, row[3], true));
  rows.flat().forEach((value, i) => view.setFloat32(280 + 4 * i, value, true));
  out.set(new TextEncoder().encode("n+1\0"), 344);
  if (data instanceof Int16Array) {
    data.forEach((value, i) => view.setInt16(HEADER + 2 * i, value, true));
  } else out.set(data, HEADER);
  return out;
}

/** A `.nii.gz` file, without a time stamp. */
export function niftiGzip(volume: NiftiVolume): Uint8Array {
  return gzipSync(niftiFile(volume), { level: 6, mtime: 0 });
}
