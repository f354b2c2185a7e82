/**
 * From an example of a dataset to one that a system can learn from: pictures and masks read.
 *
 * @module
 */
import type {
  Example,
  Finding,
  FolderSource,
  Mask,
  Raster,
  TaughtFinding,
  TrainingExample,
} from "@medvlm/core";
import { FieldError } from "../data/fields.ts";
import { maskOf } from "../data/mask_runs.ts";
import { runsOfOutlines } from "../data/outlines.ts";
import { maskFrom, pictureOf, regionsOf } from "../eval/asking.ts";

/** Decoded pictures, the latest ones, so that the examples of a picture do not decode it again and again. */
export class Pictures {
  readonly #folder: FolderSource;
  readonly #limit: number;
  readonly #kept = new Map<string, Raster>();
  #bytes = 0;

  /** @param limit Bytes to keep. Default 128 MiB. */
  constructor(folder: FolderSource, limit = 2 ** 27) {
    this.#folder = folder;
    this.#limit = limit;
  }

  /** A picture. @throws {InputError} when it is missing or cannot be decoded. */
  async get(name: string): Promise<Raster> {
    const found = this.#kept.get(name) ?? await pictureOf(this.#folder, name);
    if (this.#kept.delete(name)) this.#bytes -= found.data.byteLength;
    this.#kept.set(name, found);
    this.#bytes += found.data.byteLength;
    for (const [oldest, { data }] of this.#kept) {
      if (this.#bytes <= this.#limit || oldest === name) break;
      this.#kept.delete(oldest);
      this.#bytes -= data.byteLength;
    }
    return found;
  }
}

/** The masks of a finding, one per instance: in memory, from files, or else inside its outlines. */
async function masksOf(
  { label, masks = [], maskFiles = [], polygons = [] }: Finding,
  folder: FolderSource,
  picture: Raster,
): Promise<Mask[]> {
  const { width, height } = picture;
  const wrong = masks.find((mask) => mask.width !== width || mask.height !== height);
  if (wrong !== undefined) {
    throw new FieldError(
      `a mask of "${label}" has ${wrong.width}x${wrong.height} pixels and its picture ${width}x${height}`,
    );
  }
  const all = [...masks];
  for (const file of maskFiles) all.push(await maskFrom(folder, file, picture));
  if (all.length > 0) return all;
  return polygons.map((corners) => maskOf(runsOfOutlines([corners.flat()], [height, width])));
}

/**
 * Reads the files of an example.
 *
 * @param folder Where pictures and masks are.
 * @throws {InputError} for a file that cannot be read; {@linkcode FieldError} for a mask of another size than its picture.
 */
export async function taughtExample(
  example: Example,
  folder: FolderSource,
  pictures: Pictures,
): Promise<TrainingExample> {
  const { id, task, prompt, answer, history } = example;
  const image = await pictures.get(example.image);
  const findings: TaughtFinding[] = [];
  for (const finding of example.findings ?? []) {
    const { label, span, boxes } = finding;
    const masks = await masksOf(finding, folder, image);
    findings.push({ label, boxes, masks, ...(span === undefined ? {} : { span }) });
  }
  return {
    id,
    task,
    image,
    prompt,
    answer,
    regions: await regionsOf(example, folder, image),
    findings,
    ...(history === undefined ? {} : { history }),
  };
}
