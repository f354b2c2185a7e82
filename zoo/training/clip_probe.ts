/**
 * How well a pretrained CLIP knows pictures it has not seen.
 *
 * @module
 */
import { clipImageEmbedding, clipTextEmbedding } from "@medvlm/core/nn";
import { tensor, unitRows } from "@medvlm/core/tensor";
import { clipBatch, type ClipModel, reportedPictures } from "./clip_task.ts";
import type { PhantomSource } from "./pool.ts";

/** Retrieval among so many pictures and their reports. */
export interface ClipProbe {
  /** Pictures, as many reports. */
  readonly count: number;
  /** Share of pictures whose own report is the nearest. By chance 1 / count. */
  readonly imageToText: number;
  /** Share of reports whose own picture is the nearest. */
  readonly textToImage: number;
  /** Share of pictures whose own report is among the nearest five. */
  readonly imageToTextTop5: number;
  /** Share of pictures whose nearest report is of a picture with the same kinds of finding. */
  readonly sameFindings: number;
  /** The same for a report drawn at random. */
  readonly sameFindingsByChance: number;
}

/** Pictures per pass. */
const batchSize = 64;

/**
 * Looks for the report of every held-out picture among all of theirs, and the other way round. Reports of pictures with the
 * same findings may say the same: nobody could reach 1 by {@linkcode ClipProbe.imageToText}.
 *
 * @param source Its part should be `validate` or `test`.
 */
export async function probeClip(model: ClipModel, source: PhantomSource): Promise<ClipProbe> {
  const { visionConfig, contrastConfig, input } = model;
  const { device } = model.vision;
  const vision = model.vision.at(model.visionPrefix), contrast = model.contrast.at("");
  const pool = reportedPictures(model, source, 1);
  const all = Array.from({ length: source.count }, (_, n) => pool.at(n));
  const images: Promise<Float32Array>[] = [], texts: Promise<Float32Array>[] = [];
  for (let first = 0; first < all.length; first += batchSize) {
    using _scope = device.scope();
    const some = all.slice(first, first + batchSize);
    const batch = clipBatch(model, some, ({ wordings }) => wordings[0]!);
    const pixels = tensor(device, batch.pixels, [some.length, 3, input.side, input.side]);
    images.push(
      unitRows(clipImageEmbedding(vision, contrast, pixels, visionConfig)).readFloats(),
    );
    texts.push(
      unitRows(clipTextEmbedding(contrast, batch.texts, contrastConfig.text)).readFloats(),
    );
  }
  const image = (await Promise.all(images)).flatMap((part) => [...part]);
  const text = (await Promise.all(texts)).flatMap((part) => [...part]);
  const width = contrastConfig.projectionWidth, count = all.length;
  const cosine = (i: number, t: number) => {
    let sum = 0;
    for (let c = 0; c < width; c++) sum += image[i * width + c]! * text[t * width + c]!;
    return sum;
  };
  const kinds = all.map(({ labels }) => labels.join());
  let imageHits = 0, topHits = 0, textHits = 0, same = 0, sameByChance = 0;
  for (let i = 0; i < count; i++) {
    const own = cosine(i, i);
    let nearer = 0, nearerImages = 0, nearest = i, best = own;
    for (let t = 0; t < count; t++) {
      const score = cosine(i, t);
      if (score > own) nearer++;
      if (score > best) [nearest, best] = [t, score];
      if (cosine(t, i) > own) nearerImages++;
      if (kinds[t] === kinds[i]) sameByChance++;
    }
    if (nearer === 0) imageHits++;
    if (nearer < 5) topHits++;
    if (nearerImages === 0) textHits++;
    if (kinds[nearest] === kinds[i]) same++;
  }
  return {
    count,
    imageToText: imageHits / count,
    textToImage: textHits / count,
    imageToTextTop5: topHits / count,
    sameFindings: same / count,
    sameFindingsByChance: sameByChance / count ** 2,
  };
}
