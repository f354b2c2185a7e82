/**
 * Finding pictures that look alike, as examples for in-context segmentation (official `model/rag/image_rag.py`).
 *
 * @module
 */
import { clipVision, type Parameters } from "@medvlm/core/nn";
import { matmul, reduceMean, slice, type Tensor, unitRows } from "@medvlm/core/tensor";
import type { Raster } from "@medvlm/core";
import { crop, normalise, resizePillow, toRgb } from "@medvlm/core/image";
import type { MedplibConfig } from "./config.ts";
import { names } from "./params.ts";
import { CLIP_STATISTICS } from "./preprocess.ts";

/**
 * Input of the vision tower for retrieval [3, side, side], which differs from that for answers: the shorter side becomes
 * `side` (bicubic), and the middle is kept, as CLIP's own preprocessing has it.
 */
export function retrievalInput(image: Raster, side: number): Float32Array<ArrayBuffer> {
  const short = Math.min(image.width, image.height);
  const long = (extent: number) => extent === short ? side : Math.trunc(side * extent / short);
  const width = long(image.width), height = long(image.height);
  const resized = resizePillow(toRgb(image), width, height, "bicubic");
  const middle = crop(resized, {
    top: Math.floor((height - side) / 2),
    left: Math.floor((width - side) / 2),
    height: side,
    width: side,
  });
  return normalise(middle, CLIP_STATISTICS, 1 / 255).data;
}

/**
 * Directions of images [B, clip width], each of length 1: the mean of the patch rows after CLIP's last block, without its
 * final norm. (The language model reads an earlier hidden state.)
 *
 * @param pixels Normalised images [B, 3, S, S].
 * @param prefix Of the tower's names: that of a release, or `vision_model.` in a CLIP checkpoint of its own.
 */
export function retrievalFeatures(
  p: Parameters,
  pixels: Tensor,
  { clip }: Pick<MedplibConfig, "clip">,
  prefix: string = names.clip,
): Tensor {
  using scope = pixels.device.scope();
  const hidden = clipVision(p.at(prefix), pixels, clip);
  const patches = slice(hidden, 1, 1, hidden.shape[1]! - 1);
  return scope.keep(unitRows(reduceMean(patches, 1)));
}

/** A row that is near a query. */
export interface Neighbour {
  /** Number of the candidate. */
  readonly index: number;
  /** Cosine of the angle between them. */
  readonly score: number;
}

/**
 * The candidates nearest to each query by cosine, best first; of equals the earlier one. Waits for the device.
 *
 * @param queries f32 [Q, C], of any length.
 * @param candidates f32 [N, C], of any length.
 * @param count Most to give for each query; fewer when there are fewer candidates.
 * @throws {RangeError} when the shapes do not fit.
 */
export async function nearestRows(
  queries: Tensor,
  candidates: Tensor,
  count: number,
): Promise<Neighbour[][]> {
  const [rows, columns] = [queries.shape[0]!, candidates.shape[0]!];
  if (rows === 0 || columns === 0) return Array.from({ length: rows }, () => []);
  let reading: Promise<Float32Array>;
  {
    using _scope = queries.device.scope();
    reading = matmul(unitRows(queries), unitRows(candidates), { transposeB: true }).readFloats();
  }
  const scores = await reading;
  return Array.from({ length: rows }, (_, q) => {
    const own = scores.subarray(q * columns, (q + 1) * columns);
    return Array.from(own, (score, index) => ({ index, score }))
      .sort((a, b) => b.score - a.score || a.index - b.index)
      .slice(0, count);
  });
}

/** A picture that can serve as an example: the files of image and mask. */
export interface Candidate {
  /** Path of the image, as the record has it. */
  readonly image: string;
  /** Path of its mask. */
  readonly mask: string;
}

/** A record of an in-context dataset, as its JSON has it. */
export type InContextRecord = Readonly<Record<string, unknown>>;

const text = (value: unknown): string | undefined => typeof value === "string" ? value : undefined;

/** The numbers of the keys `image1`, `image2`, …, ascending. */
function numbersOf(record: InContextRecord): number[] {
  return Object.keys(record)
    .flatMap((key) => /^image(\d+)$/.exec(key)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

function list(value: unknown): InContextRecord[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "object" && one !== null) : [];
}

/** The image that a record asks about: `image`, or the numbered one with the highest number. */
export function queryImage(record: InContextRecord): string | undefined {
  return text(record.image) ?? text(record[`image${numbersOf(record).at(-1)}`]);
}

/** The mask of that image: `target_mask`, `mask` or `mask3`, or the first `<mask>` of the conversation. */
export function targetMask(record: InContextRecord): string | undefined {
  const named = text(record.target_mask) ?? text(record.mask) ?? text(record.mask3);
  if (named !== undefined) return named;
  for (const { value } of list(record.conversations)) {
    const found = /<mask>(.*?)<\/mask>/s.exec(String(value ?? ""));
    if (found !== null) return found[1]!;
  }
  return undefined;
}

/**
 * Every picture with a mask in the records of a dataset, in order: what a record asks about, its `icl_examples` (or
 * `examples`), its numbered pairs. A picture that a record names twice is there twice.
 */
export function collectCandidates(records: readonly InContextRecord[]): Candidate[] {
  return records.flatMap((record) => {
    const pairs = [
      [queryImage(record), targetMask(record)],
      ...list(record.icl_examples ?? record.examples).map(({ image, mask }) => [image, mask]),
      ...numbersOf(record).map((n) => [record[`image${n}`], record[`mask${n}`]]),
    ];
    return pairs.flatMap(([image, mask]) =>
      text(image) === undefined || text(mask) === undefined
        ? []
        : [{ image: text(image)!, mask: text(mask)! }]
    );
  });
}
