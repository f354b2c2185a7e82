/**
 * What a format is, and the small encodings that several share.
 *
 * @module
 */
import type { FolderWriter, Mask, Raster } from "@medvlm/core";
import { encodePng } from "@medvlm/core/image";
import { encode as encodeJpeg } from "jpeg-js";
import type { Split } from "../splits.ts";
import type { Kind, PhantomCase } from "./case.ts";

/** A published format that phantoms can be written in. */
export interface PhantomFormat {
  /** As on the command line. */
  readonly name: string;
  /** What is written, in a few words. */
  readonly about: string;
  /** Kinds of phantom it can hold; the first is the default. */
  readonly kinds: readonly Kind[];
  /** Name of the reader in `zoo/data`; absent where none reads it. */
  readonly reader?: string;
  /** Parts of the dataset; none when it has no parts. */
  readonly parts: readonly Split[];
  /** Whole volumes are written, not slices of them. */
  readonly volumes?: boolean;
  /** Most phantoms that make sense. */
  readonly most?: number;
  /** Writes pictures as they come and the lists at the end. */
  write(cases: Iterable<PhantomCase>, folder: FolderWriter): Promise<void>;
}

const encoder = new TextEncoder();

/** Writes a file of text or bytes. */
export function writeFile(
  folder: FolderWriter,
  name: string,
  content: string | Uint8Array,
): Promise<void> {
  return folder.write(name, [typeof content === "string" ? encoder.encode(content) : content]);
}

/** A PNG file. */
export function png(picture: Raster): Uint8Array {
  return encodePng(picture, { level: 6 });
}

/** A mask as a PNG of 0 and 255. */
export function maskPng({ width, height, data }: Mask): Uint8Array {
  return png({ width, height, channels: 1, data: data.map((value) => 255 * value), bitDepth: 8 });
}

/** A JPEG file of a grey picture, quality 95 of 100. */
export function jpg({ width, height, data }: Raster): Uint8Array {
  const rgba = new Uint8Array(4 * width * height);
  for (let i = 0; i < width * height; i++) {
    rgba.fill(data[i], 4 * i, 4 * i + 3);
    rgba[4 * i + 3] = 255;
  }
  return new Uint8Array(encodeJpeg({ width, height, data: rgba }, 95).data);
}

/** A JSON list with a record per line. */
export function jsonList(records: readonly unknown[]): string {
  return records.length === 0
    ? "[]\n"
    : `[\n${records.map((record) => JSON.stringify(record)).join(",\n")}\n]\n`;
}

/** A table with a line per record; fields are quoted where they must be. */
export function csvTable(
  columns: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  delimiter = ",",
): string {
  const special = new RegExp(`["\\r\\n${delimiter}]|^\\s|\\s$`);
  const field = (value: string | number) => {
    const text = String(value);
    return special.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(field).join(delimiter) + "\n").join("");
}

/** Records by part. */
export class Parts<T> {
  readonly #all = new Map<Split, T[]>();

  /** Adds records of a case. */
  add({ split }: Pick<PhantomCase, "split">, ...records: readonly T[]): void {
    const part = split ?? "train", all = this.#all.get(part) ?? [];
    this.#all.set(part, all);
    all.push(...records);
  }

  /** Records of a part in order. */
  of(split: Split): readonly T[] {
    return this.#all.get(split) ?? [];
  }
}
