/**
 * Training samples that share pictures as one batch: a picture is encoded once, and what comes before and with it goes through
 * the decoder once for each wording of the prompt's beginning.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { type Continuation, sharedLayout, type SharedStart } from "../nn/shared_layout.ts";
import type { LlamaTokenizer } from "../text/mod.ts";
import { imageRowCount, type MinigptConfig } from "./config.ts";
import { ignoredLabel } from "./prompt.ts";
import type { MinigptBatch, MinigptSample } from "./training_batch.ts";

/** Whether samples of a batch have pictures in common, by identity, and texts of one length before them. */
export function sharesPictures(samples: readonly MinigptSample[]): boolean {
  const lengths = new Set(samples.map(({ prompt: [before] }) => before.length));
  return lengths.size === 1 && new Set(samples.map(({ pixels }) => pixels)).size < samples.length;
}

/**
 * Puts samples together like `minigptBatch`, with the same loss. Samples about a picture hold the same `pixels`.
 *
 * @throws {InputError} code `NOTHING_TO_LEARN` when no token of an answer counts.
 * @throws {RangeError} when the texts before the pictures differ in length, or nothing comes between a picture and an answer.
 */
export function sharedMinigptBatch(
  samples: readonly MinigptSample[],
  tokenizer: LlamaTokenizer,
  config: MinigptConfig,
): MinigptBatch {
  const pad = tokenizer.padId ?? tokenizer.unknownId;
  const perPicture = imageRowCount(config);
  const tokens: number[] = [];
  const place = (ids: readonly number[]) => ids.map((id) => tokens.push(id) - 1);
  const pictures = [...new Set(samples.map(({ pixels }) => pixels))];
  const begins = (sample: MinigptSample) =>
    [pictures.indexOf(sample.pixels as typeof pictures[number]), ...sample.prompt[0]].join();
  const starts = [...Map.groupBy(samples, begins).values()].map((some): SharedStart => {
    const { prompt: [before], pixels } = some[0]!;
    const first = pictures.indexOf(pixels) * perPicture;
    const picture = Array.from({ length: perPicture }, (_, row) => -1 - first - row);
    return {
      rows: [...place([tokenizer.beginId, ...before]), ...picture],
      continuations: some.map(({ prompt: [, behind], answer }): Continuation => ({
        rows: place([...behind, ...answer]),
        // A padding token inside an answer does not count.
        labels: [...behind.map(() => ignoredLabel), ...answer].map((id) =>
          id === pad ? ignoredLabel : id
        ),
      })),
    };
  });
  const [padRow] = place([pad]);
  const layout = sharedLayout(starts, tokens.length, padRow!);
  if (layout.targets.length === 0) {
    throw new InputError("NOTHING_TO_LEARN", "Cannot learn from a batch without answers");
  }
  const pixels = new Float32Array(pictures.length * pictures[0]!.length);
  pictures.forEach((picture, n) => pixels.set(picture, n * picture.length));
  return { ...layout, tokens: Int32Array.from(tokens), pixels };
}
