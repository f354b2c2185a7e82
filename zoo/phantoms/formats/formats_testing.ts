/** Writing and reading back in memory, for tests of the formats. */
import { assertEquals } from "@std/assert";
import type { Example, FolderSource, FolderWriter, Mask } from "@medvlm/core";
import { memoryFolder } from "@medvlm/core/checkpoint";
import { decodeImage } from "@medvlm/core/image";
import { datasets, type ReadOptions } from "../../data/mod.ts";
import { type Kind, type PhantomCase, phantomCases, phantomFormats } from "./mod.ts";

/** A dataset in memory, and the truth it was made from. */
export interface Written {
  readonly cases: readonly PhantomCase[];
  readonly folder: FolderSource & FolderWriter;
  /** What the format's reader makes of it, in strict mode. */
  read(options?: ReadOptions): Promise<Example[]>;
  /** A file. */
  bytes(name: string): Promise<Uint8Array<ArrayBuffer>>;
  /** The mask in a PNG file. */
  mask(name: string): Promise<Mask>;
}

/** Everything a source gives. */
async function collect(examples: AsyncIterable<Example>): Promise<Example[]> {
  const all: Example[] = [];
  for await (const example of examples) all.push(example);
  return all;
}

/** Writes phantoms as a format. */
export async function written(
  name: string,
  { kind, count = 12, size = 40, slices = 1, seed = 4 }: {
    kind?: Kind;
    count?: number;
    size?: number;
    slices?: number;
    seed?: number;
  } = {},
): Promise<Written> {
  const format = phantomFormats[name];
  const cases = [
    ...phantomCases({
      kind: kind ?? format.kinds[0],
      count,
      size,
      slices,
      seed,
      parts: format.parts,
    }),
  ];
  const folder = memoryFolder(name);
  await format.write(cases, folder);
  const bytes = async (file: string) => {
    using source = await folder.open(file);
    return await source.read(0, source.size);
  };
  return {
    cases,
    folder,
    bytes,
    async read(options) {
      const reading = datasets[format.reader!].read(folder, { strict: true, ...options });
      const examples = await collect(reading);
      assertEquals(reading.skipped, 0);
      return examples;
    },
    async mask(file) {
      const { raster: { width, height, data, channels } } = await decodeImage(
        await bytes(file),
        file,
      );
      assertEquals(channels, 1);
      return { width, height, data: Uint8Array.from(data, (value) => value === 255 ? 1 : 0) };
    },
  };
}

/** Every picture that is named can be decoded and has the size of its phantom. */
export async function checkPictures({ bytes, cases }: Written, examples: readonly Example[]) {
  const { width, height } = cases[0].picture;
  for (const name of new Set(examples.map(({ image }) => image))) {
    const { raster: image } = await decodeImage(await bytes(name), name);
    assertEquals([image.width, image.height], [width, height], name);
  }
}
