/**
 * Reference cases of MedPLIB's host code: pictures to encoder inputs, regions to grid cells, logits to masks.
 *
 * @module
 */
import { readAll } from "../../core/files.ts";
import { decodeImage, toRgb } from "../../core/image/mod.ts";
import { maskCrop, maskLogits, thresholdMask } from "../../plugins/medplib/postprocess.ts";
import {
  clipInput,
  clipPicture,
  resizeLongestSide,
  samInput,
} from "../../plugins/medplib/preprocess.ts";
import type { Report } from "./harness.ts";
import { readReferenceTensors } from "./reference_tensors.ts";

/** Height and width. */
type HeightWidth = [height: number, width: number];

interface PreprocessCase {
  images: {
    file: string;
    "sam_resized": HeightWidth;
    "clip_resized": HeightWidth;
    "sam_pad_top_left": [number, number];
    "clip_pad_top_left": [number, number];
  }[];
  tolerance: { floats: number };
}

interface PostprocessCase {
  cases: {
    low: number;
    "input_size": HeightWidth;
    "original_size": HeightWidth;
    rows: [number, number];
    cols: [number, number];
  }[];
  tolerance: { atol: number };
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await readAll(path)));
}

/** Every `step`-th row, beginning with `first`, of `planes` stacked maps with rows of `width` values. */
function pickRows(
  data: ArrayLike<number>,
  planes: number,
  width: number,
  first: number,
  step: number,
): number[] {
  const rows = data.length / planes / width;
  const out: number[] = [];
  for (let plane = 0; plane < planes; plane++) {
    for (let row = first; row < rows; row += step) {
      for (let i = 0; i < width; i++) out.push(data[(plane * rows + row) * width + i]);
    }
  }
  return out;
}

function rowSums(data: Float32Array, width: number): Float64Array {
  const sums = new Float64Array(data.length / width);
  for (let i = 0; i < data.length; i++) sums[Math.floor(i / width)] += data[i];
  return sums;
}

/** Interleaved samples as planes. */
function planesOf(data: Uint8Array, channels: number): Uint8Array {
  const size = data.length / channels;
  return data.map((_, i) => data[(i % size) * channels + Math.floor(i / size)]);
}

/** Compares both encoder inputs of the pictures of a `preprocess` folder. */
export async function runMedplibPreprocess(dir: string, report: Report): Promise<void> {
  const { images, tolerance } = await readJson<PreprocessCase>(`${dir}/case.json`);
  const sides = await readJson<{ "sam_img_size": number; "clip_img_size": number }>(
    `${dir}/config.json`,
  );
  const samSide = sides["sam_img_size"], clipSide = sides["clip_img_size"];
  const expected = await readReferenceTensors(`${dir}/expected.safetensors`);
  const atol = tolerance.floats;
  for (const [k, listed] of images.entries()) {
    const bytes = await readAll(`${dir}/${listed.file}`);
    const image = toRgb((await decodeImage(bytes, listed.file)).raster);
    const sam = samInput(image, samSide), clip = clipInput(image, clipSide);
    const sizes = [sam, clip].map(({ resized }) => [resized.height, resized.width]);
    const pads = [sam, clip].map(({ placement }) => [placement.top, placement.left]);
    report.exact(`${k} sizes`, sizes, [listed["sam_resized"], listed["clip_resized"]]);
    report.exact(`${k} pads`, pads, [listed["sam_pad_top_left"], listed["clip_pad_top_left"]]);
    const values: Record<string, () => ArrayLike<number>> = {
      "sam_resized_u8": () => {
        const resized = resizeLongestSide(image, samSide);
        return pickRows(resized.data, 1, resized.width * 3, 0, 2);
      },
      "clip_padded_u8": () => {
        const planes = planesOf(clipPicture(image, clipSide).data, 3);
        return pickRows(planes, 3, clipSide, k % 3, 3);
      },
      sam: () => pickRows(sam.data, 3, samSide, 0, 4),
      clip: () => pickRows(clip.data, 3, clipSide, 0, 6),
    };
    for (const [name, value] of Object.entries(values)) {
      if (!expected.has(`${k}.${name}`)) continue;
      const tolerated = name.endsWith("_u8") ? {} : { atol };
      report.close(`${k}.${name}`, value(), expected.get(`${k}.${name}`).data, tolerated);
    }
    // A sum of n values carries up to n times the rounding of one.
    report.close(
      `${k}.sam_rowsum`,
      rowSums(sam.data, samSide),
      expected.get(`${k}.sam_rowsum`).data,
      { atol: atol * samSide },
    );
    report.close(
      `${k}.clip_rowsum`,
      rowSums(clip.data, clipSide),
      expected.get(`${k}.clip_rowsum`).data,
      { atol: atol * clipSide },
    );
  }
}

/** Compares the slices, logits and masks of a `mask-postprocess` folder. */
export async function runMaskPostprocess(dir: string, report: Report): Promise<void> {
  const { cases, tolerance } = await readJson<PostprocessCase>(`${dir}/case.json`);
  const config = await readJson<{ threshold: number; "sam_img_size": number }>(
    `${dir}/config.json`,
  );
  const side = config["sam_img_size"];
  const inputs = await readReferenceTensors(`${dir}/inputs.safetensors`);
  const expected = await readReferenceTensors(`${dir}/expected.safetensors`);
  for (const [k, one] of cases.entries()) {
    const [inputHeight, inputWidth] = one["input_size"];
    const [height, width] = one["original_size"];
    report.exact(`${k} rows`, maskCrop(one.low, inputHeight, side), one.rows);
    report.exact(`${k} cols`, maskCrop(one.low, inputWidth, side), one.cols);
    const low = inputs.get(`${k}.low_res`).data as Float32Array;
    const size = { width, height };
    const logits = maskLogits(low, { width: inputWidth, height: inputHeight }, size);
    report.close(`${k}.mask_logits`, logits, expected.get(`${k}.mask_logits`).data, tolerance);
    const mask = thresholdMask(logits, size, config.threshold);
    report.close(`${k}.mask`, mask.data, expected.get(`${k}.mask`).data, {});
  }
}
