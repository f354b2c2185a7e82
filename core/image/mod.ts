/**
 * Pictures: decoding, colour and depth, resampling exactly as Pillow and PyTorch do, normalising, drawing. Nothing here
 * knows of a GPU or of a host: it runs the same in Deno and in a browser.
 *
 * @module
 */
export type { FileSource } from "../files.ts";
export * from "./random_crop.ts";
export * from "./raster.ts";
export * from "./exif.ts";
export * from "./decode.ts";
export * from "./image_size.ts";
export * from "./encode_png.ts";
export * from "./resample_pillow.ts";
export * from "./resample_torch.ts";
export * from "./normalise.ts";
export { type Colour } from "./canvas.ts";
export * from "./overlay.ts";
