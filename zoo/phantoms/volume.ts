/**
 * CT phantoms: volumes of chest and upper abdomen in Hounsfield units, with every structure and finding known exactly.
 *
 * @module
 */
import { Random } from "./random.ts";
import { drawSlice } from "./volume_anatomy.ts";
import {
  drawVolumeFindings,
  type VolumeInstance,
  type VolumeLabel,
  volumeLabels,
} from "./volume_findings.ts";
import { values } from "./volume_labels.ts";
import {
  BODY_HEIGHT,
  FIELD_OF_VIEW,
  makePatient,
  type Patient,
  type Segment,
} from "./volume_patient.ts";

export type { VolumeInstance, VolumeLabel };

/** A volume and its truth. Voxels run to the patient's left, to the back and upwards; the first index is the fastest. */
export interface VolumePhantom {
  /** Unique among the volumes of all seeds. */
  readonly id: string;
  /** Seed it was drawn with. */
  readonly seed: number;
  /** Its number. */
  readonly index: number;
  /** Voxels in x, y and z. */
  readonly size: readonly [number, number, number];
  /** Distance of the voxels' centres in millimetres. */
  readonly spacing: readonly [number, number, number];
  /**
   * From voxel indices to millimetres in DICOM's directions (left, posterior, superior), three rows of four. Voxel (0, 0, 0)
   * is at the patient's right, in front, below.
   */
  readonly affine: readonly (readonly [number, number, number, number])[];
  /** Hounsfield units, -1024 to 3071. */
  readonly hu: Int16Array;
  /** Structure of every voxel, an index into {@linkcode structureNames}. */
  readonly labels: Uint8Array;
  /** Finding of every voxel, 0 or the finding's `value`. */
  readonly instances: Uint8Array;
  /** What was drawn; empty for a normal volume. */
  readonly findings: readonly VolumeInstance[];
  /** Of the patient. */
  readonly sex: "F" | "M";
  /** In years, 18 to 92. */
  readonly age: number;
}

/** Options of {@linkcode volumePhantom}. */
export interface VolumeOptions {
  /** Side of the square slices in pixels, 16 to 1024. */
  readonly size: number;
  /** Number of slices, 1 to 64. From 16 slices on they cover chest and upper abdomen, fewer cover a part of it. */
  readonly slices: number;
  /** Whole number from 0 to 2^53 - 1. */
  readonly seed: number;
  /** Number of the volume, 0 to 2^32 - 1: each has draws of its own. See {@linkcode splitIndex} for training and testing. */
  readonly index: number;
}

/** Marks the draws of volumes. */
const VOLUME_DRAWS = 0x766f6c75;
/** Side of the tile of noise. */
const TILE = 128;

/** Grain of a CT picture: neighbours are alike. Standard deviation 1, repeats without a seam. */
function noiseTile(random: Random): Float32Array {
  const white = random.normals(TILE * TILE), tile = new Float32Array(white.length);
  // Weights of a small blur, scaled so that the variance stays 1.
  const side = 0.5, corner = 0.25, norm = 1 / Math.sqrt(1 + 4 * side ** 2 + 4 * corner ** 2);
  const last = TILE - 1;
  for (let y = 0; y < TILE; y++) {
    const here = y * TILE, above = ((y - 1) & last) * TILE, below = ((y + 1) & last) * TILE;
    for (let x = 0; x < TILE; x++) {
      const left = (x - 1) & last, right = (x + 1) & last;
      const cross = white[here + left] + white[here + right] + white[above + x] + white[below + x];
      const diagonal = white[above + left] + white[above + right] + white[below + left] +
        white[below + right];
      tile[here + x] = norm * (white[here + x] + side * cross + corner * diagonal);
    }
  }
  return tile;
}

/** Draws the pieces of vessels that cross a slice into the voxels of these structures. */
function drawVessels(
  segments: readonly Segment[],
  z: number,
  size: number,
  step: number,
  density: number,
  hu: Float32Array,
  allowed: (label: number) => boolean,
  labels: Uint8Array,
): void {
  for (const { from: [ax, ay, az], to: [bx, by, bz], radius: r } of segments) {
    if (z < Math.min(az, bz) - r || z > Math.max(az, bz) + r) continue;
    const first = (value: number) => Math.max(0, Math.floor((value - r) / step + size / 2));
    const last = (value: number) => Math.min(size - 1, Math.ceil((value + r) / step + size / 2));
    const dx = bx - ax, dy = by - ay, dz = bz - az, squared = dx * dx + dy * dy + dz * dz;
    for (let j = first(Math.min(ay, by)); j <= last(Math.max(ay, by)); j++) {
      const y = (j + 0.5 - size / 2) * step;
      for (let i = first(Math.min(ax, bx)); i <= last(Math.max(ax, bx)); i++) {
        const at = j * size + i;
        if (!allowed(labels[at])) continue;
        const x = (i + 0.5 - size / 2) * step;
        const t = Math.max(
          0,
          Math.min(1, ((x - ax) * dx + (y - ay) * dy + (z - az) * dz) / squared),
        );
        const u = x - ax - t * dx, v = y - ay - t * dy, w = z - az - t * dz;
        const distance = Math.sqrt(u * u + v * v + w * w);
        // Vessels thinner than a voxel fill a part of it.
        const share = Math.min(1, Math.max(0, (r - distance) / step + 0.5));
        if (share > 0) hu[at] = Math.max(hu[at], hu[at] + share * (density - hu[at]));
      }
    }
  }
}

/** The picture as the scanner sees it: a little blurred. */
function blurSlice(hu: Float32Array, size: number): Float32Array {
  const rows = new Float32Array(hu.length), out = new Float32Array(hu.length);
  for (let j = 0; j < size; j++) {
    for (let i = 0; i < size; i++) {
      const at = j * size + i;
      rows[at] = 0.5 * hu[at] + 0.25 * (hu[i > 0 ? at - 1 : at] + hu[i < size - 1 ? at + 1 : at]);
    }
  }
  for (let j = 0; j < size; j++) {
    for (let i = 0; i < size; i++) {
      const at = j * size + i;
      const above = rows[j > 0 ? at - size : at], below = rows[j < size - 1 ? at + size : at];
      out[at] = 0.5 * rows[at] + 0.25 * (above + below);
    }
  }
  return out;
}

const lungLabels = new Set<number>([...values.lung.right, ...values.lung.left]);

/** Anatomy without findings and noise. */
function drawAnatomy(
  patient: Patient,
  { size: [nx, , nz], hu, labels }: Pick<VolumePhantom, "size" | "hu" | "labels">,
  heights: readonly number[],
): void {
  const plane = nx * nx, step = FIELD_OF_VIEW / nx / patient.scale;
  const picture = new Float32Array(plane);
  for (let k = 0; k < nz; k++) {
    const z = heights[k], slice = labels.subarray(k * plane, (k + 1) * plane);
    drawSlice(patient, z, nx, { hu: picture, labels: slice });
    const inLung = (label: number) => lungLabels.has(label);
    drawVessels(patient.lungVessels, z, nx, step, 45, picture, inLung, slice);
    const inLiver = (label: number) => label === values.liver;
    drawVessels(patient.liverVessels, z, nx, step, patient.blood - 10, picture, inLiver, slice);
    hu.set(picture, k * plane);
  }
}

/** Blur and grain. */
function expose(random: Random, hu: Int16Array, size: number, slices: number, spacing: number) {
  const tile = noiseTile(random), plane = size * size;
  const sigma = random.uniform(8, 18);
  for (let k = 0; k < slices; k++) {
    const slice = hu.subarray(k * plane, (k + 1) * plane);
    const exact = Float32Array.from(slice);
    const seen = spacing < 2.5 ? blurSlice(exact, size) : exact;
    const right = random.whole(0, TILE - 1), down = random.whole(0, TILE - 1);
    for (let j = 0, at = 0; j < size; j++) {
      const row = ((j + down) & (TILE - 1)) * TILE;
      for (let i = 0; i < size; i++, at++) {
        const value = seen[at] + sigma * tile[row + ((i + right) & (TILE - 1))];
        slice[at] = Math.max(-1024, Math.min(3071, Math.round(value)));
      }
    }
  }
}

function checked(name: string, value: number, low: number, high: number): void {
  if (Number.isSafeInteger(value) && value >= low && value <= high) return;
  throw new RangeError(
    `Cannot draw a volume with ${name} ${value}: expected a whole number from ${low} to ${high}`,
  );
}

/**
 * Makes one volume: 30 % are normal, the others have each kind of finding with probability 0.4, as far as the slices show
 * its organ. The same options give the same bytes.
 *
 * @throws {RangeError} for sizes out of range.
 */
export function volumePhantom({ size, slices, seed, index }: VolumeOptions): VolumePhantom {
  checked("size", size, 16, 1024);
  checked("slices", slices, 1, 64);
  const random = new Random(seed, index, VOLUME_DRAWS);
  const healthy = random.chance(0.3);
  const drawn = volumeLabels.filter(() => random.chance(0.4));
  const kinds = new Set(healthy ? [] : drawn.length > 0 ? drawn : [random.pick(volumeLabels)]);
  const sex = random.chance(0.5) ? "F" : "M", age = random.whole(18, 92);
  const pixel = FIELD_OF_VIEW / size;
  const patient = makePatient(random, pixel);

  const thickness = slices >= 16 ? (BODY_HEIGHT - 20) / slices : random.pick([5, 7.5, 10]);
  const covered = thickness * (slices - 1);
  const lowest = slices >= 16
    ? 10 + thickness / 2
    : random.uniform(30, Math.max(31, BODY_HEIGHT - 50 - covered));
  const heights = Array.from({ length: slices }, (_, k) => lowest + k * thickness);
  const spacing = [pixel, pixel, thickness] as const;
  const shape = [size, size, slices] as const;
  const volume = {
    size: shape,
    spacing,
    hu: new Int16Array(size * size * slices),
    labels: new Uint8Array(size * size * slices),
    instances: new Uint8Array(size * size * slices),
  };
  drawAnatomy(patient, volume, heights);
  const findings = drawVolumeFindings(volume, random, kinds, lowest);
  expose(random, volume.hu, size, slices, pixel);
  const corner = (pixel - FIELD_OF_VIEW) / 2;
  return {
    id: `volume-${seed}-${String(index).padStart(5, "0")}`,
    seed,
    index,
    ...volume,
    affine: [
      [pixel, 0, 0, corner],
      [0, pixel, 0, corner],
      [0, 0, thickness, lowest],
    ],
    findings,
    sex,
    age,
  };
}
