/**
 * What a run leaves behind: a JSON document and the picture with the answer drawn over it.
 *
 * @module
 */
import type {
  Device,
  GroundedAnswer,
  Mask,
  Phrase,
  Raster,
  Region,
  WeightStorage,
} from "@medvlm/core";
import type { ProfileRow } from "@medvlm/core/device";
import { drawOverlay, encodePng, type OverlayItem } from "@medvlm/core/image";
import { runLengths } from "./data/mask_runs.ts";

/** Printed once with every answer. */
export const notice = "Research software, not for clinical use.";

/** Printed with every answer of the weights that ship. */
export const shippedNotice =
  "The small weights that ship know drawn radiographs only; for others give --checkpoint DIR.";

/** Printed with every answer of random weights. */
export const untrainedNotice =
  "The weights are random and untrained: the answer is noise and only shows that everything runs.";

/** Everything that is known once an answer is complete. */
export interface RunRecord {
  readonly plugin: string;
  readonly checkpoint: string | undefined;
  readonly preset: string | undefined;
  readonly untrained: boolean;
  readonly device: Device;
  readonly dtype: WeightStorage;
  readonly image: { readonly file: string; readonly format: string; readonly raster: Raster };
  readonly prompt: string;
  readonly task: string | undefined;
  readonly regions: readonly string[];
  readonly answer: GroundedAnswer;
  /** Milliseconds until the model was on the device. */
  readonly loadMilliseconds: number;
  readonly weightBytes: number;
  readonly profile: readonly ProfileRow[] | undefined;
  readonly files: { readonly answer: string; readonly overlay: string };
}

/** Tokens per second of the decoding phase, which starts when the first token is there; undefined for one token. */
export function tokensPerSecond({ timings }: GroundedAnswer): number | undefined {
  const { newTokens, decode } = timings;
  return newTokens > 1 && decode > 0 ? (newTokens - 1) / decode * 1000 : undefined;
}

function maskDocument(mask: Mask): Record<string, unknown> {
  return {
    size: [mask.height, mask.width],
    area: mask.data.reduce((sum, value) => sum + (value === 0 ? 0 : 1), 0),
    counts: runLengths(mask),
  };
}

function phraseDocument({ text, span, boxes, masks, scores }: Phrase): Record<string, unknown> {
  return { text, span, boxes, masks: masks.map(maskDocument), ...(scores ? { scores } : {}) };
}

/** The JSON document of a run. */
export function answerDocument(record: RunRecord): Record<string, unknown> {
  const { answer, device, image, profile } = record;
  return {
    notice,
    plugin: record.plugin,
    checkpoint: record.checkpoint ?? null,
    preset: record.preset ?? null,
    untrained: record.untrained,
    device: { backend: device.kind, name: device.info.name },
    dtype: record.dtype,
    image: {
      file: image.file,
      format: image.format,
      width: image.raster.width,
      height: image.raster.height,
    },
    prompt: record.prompt,
    task: record.task ?? null,
    regions: record.regions,
    text: answer.text,
    tokens: answer.tokens,
    finish: answer.finish,
    phrases: answer.phrases.map(phraseDocument),
    timings: {
      load: record.loadMilliseconds,
      ...answer.timings,
      tokensPerSecond: tokensPerSecond(answer) ?? null,
    },
    memory: { weightBytes: record.weightBytes, peakDeviceBytes: device.memory.peak },
    ...(profile ? { profile } : {}),
    files: record.files,
  };
}

/** The picture with the user's regions in white and what the answer points at in colours, as a PNG file. */
export function overlayPng(
  image: Raster,
  regions: readonly Region[],
  answer: GroundedAnswer,
): Uint8Array<ArrayBuffer> {
  const white = [255, 255, 255] as const;
  const pointed = regions.map((region): OverlayItem => {
    const item = { label: "region", colour: white };
    if (region.kind === "mask") return { ...item, mask: region.mask };
    if (region.kind === "box") return { ...item, box: region.box };
    const { x, y } = region;
    return { ...item, box: [x - 4, y - 4, x + 5, y + 5] };
  });
  const found = answer.phrases.flatMap(({ text, boxes, masks }): OverlayItem[] => [
    ...boxes.map((box) => ({ label: text, box })),
    ...masks.map((mask) => ({ label: text, mask })),
  ]);
  return encodePng(drawOverlay(image, [...pointed, ...found]));
}
