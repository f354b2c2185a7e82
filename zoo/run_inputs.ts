/**
 * Reads what a question is about: the picture and the regions a user points at.
 *
 * @module
 */
import { InputError, type Mask, openFile, type Raster, type Region } from "@medvlm/core";
import { decodeImageFile, toGrey } from "@medvlm/core/image";

/** Decodes a picture by its content and turns it upright. */
export async function readPicture(path: string): Promise<{ raster: Raster; format: string }> {
  using file = await openFile(path);
  const { raster, format } = await decodeImageFile(file);
  return { raster, format };
}

function regionError(text: string, reason: string): InputError {
  return new InputError("BAD_REGION", `Cannot use --region ${JSON.stringify(text)}: ${reason}`);
}

function numbers(text: string, list: string, count: number, form: string): number[] {
  const values = list.split(",").map((part) => part.trim() === "" ? NaN : Number(part));
  if (values.length !== count || !values.every(Number.isFinite)) {
    throw regionError(text, `expected ${count} numbers, as in ${form}`);
  }
  return values;
}

function outside(text: string, { width, height }: Raster): InputError {
  return new InputError(
    "REGION_OUTSIDE",
    `Cannot use --region ${
      JSON.stringify(text)
    }: it is not inside the image of ${width}x${height} pixels; give pixels of the original image`,
  );
}

/**
 * Reads one `--region`: `box:x0,y0,x1,y1`, `point:x,y` or `mask:FILE`, in pixels of the picture.
 *
 * @throws {InputError} code `BAD_REGION` for another form, an empty box, or a mask that is empty or of another size;
 * `REGION_OUTSIDE`; and as {@linkcode readPicture} for the mask's file.
 */
export async function readRegion(text: string, image: Raster): Promise<Region> {
  const colon = text.indexOf(":");
  const kind = text.slice(0, Math.max(0, colon)), rest = text.slice(colon + 1);
  if (kind === "box") {
    const [x0, y0, x1, y1] = numbers(text, rest, 4, "box:10,20,110,90");
    if (x1 <= x0 || y1 <= y0) {
      throw regionError(
        text,
        "the box is empty; its second corner lies right of and below the first",
      );
    }
    if (x0 < 0 || y0 < 0 || x1 > image.width || y1 > image.height) throw outside(text, image);
    return { kind, box: [x0, y0, x1, y1] };
  }
  if (kind === "point") {
    const [x, y] = numbers(text, rest, 2, "point:60,40");
    if (x < 0 || y < 0 || x >= image.width || y >= image.height) throw outside(text, image);
    return { kind, x, y };
  }
  if (kind === "mask") return await readMask(text, rest, image);
  throw regionError(text, "expected box:x0,y0,x1,y1, point:x,y or mask:FILE");
}

/** The pixels of a picture that are not black. */
export function maskOfPicture(picture: Raster): Mask {
  const { width, height, data } = toGrey(picture);
  return { width, height, data: Uint8Array.from(data, (value) => value === 0 ? 0 : 1) };
}

async function readMask(text: string, path: string, { width, height }: Raster): Promise<Region> {
  if (path === "") throw regionError(text, "the file name is missing, as in mask:lesion.png");
  const mask = maskOfPicture((await readPicture(path)).raster);
  if (mask.width !== width || mask.height !== height) {
    throw regionError(
      text,
      `the mask has ${mask.width}x${mask.height} pixels and the image ${width}x${height}; export it at the image's size`,
    );
  }
  if (!mask.data.includes(1)) {
    throw regionError(text, "the mask is all black; draw the region in white");
  }
  return { kind: "mask", mask };
}
