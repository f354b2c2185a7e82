import { assertEquals, assertRejects } from "@std/assert";
import type { Example, FolderSource, Mask } from "@medvlm/core";
import { memoryFolder } from "@medvlm/core/checkpoint";
import { encodePng } from "@medvlm/core/image";
import { FieldError } from "../data/fields.ts";
import { Pictures, taughtExample } from "./taught.ts";

const png = (width: number, height: number, data: readonly number[]) =>
  encodePng({ width, height, channels: 1, bitDepth: 8, data: Uint8Array.from(data) });

const files = new Map([
  ["a.png", png(3, 2, [1, 2, 3, 4, 5, 6])],
  ["b.png", png(2, 2, [1, 2, 3, 4])],
  ["mask.png", png(3, 2, [255, 0, 0, 255, 0, 0])],
]);

/** A folder that counts how often a file is opened. */
function counted(): { folder: FolderSource; opened: string[] } {
  const opened: string[] = [];
  const folder = memoryFolder("data", files);
  const open = (name: string) => {
    opened.push(name);
    return folder.open(name);
  };
  return { folder: { ...folder, name: "data", list: folder.list, has: folder.has, open }, opened };
}

const mask = (data: number[]): Mask => ({ width: 3, height: 2, data: Uint8Array.from(data) });
const example: Example = {
  id: "1",
  image: "a.png",
  task: "ground-mask",
  prompt: "Where?",
  answer: "Here.",
};

Deno.test("masks come from memory, files and outlines, regions from files", async () => {
  const { folder } = counted();
  const taught = await taughtExample(
    {
      ...example,
      regions: [{ kind: "mask-file", file: "mask.png" }],
      findings: [
        { label: "file", boxes: [], maskFiles: ["mask.png"] },
        { label: "memory", boxes: [], masks: [mask([0, 1, 0, 0, 1, 0])] },
        { label: "outline", boxes: [[1, 0, 3, 1]], polygons: [[[1, 0], [3, 0], [3, 1], [1, 1]]] },
      ],
    },
    folder,
    new Pictures(folder),
  );
  const pixels = ({ data }: Mask) => [...data];
  assertEquals(taught.findings.map(({ label, masks }) => [label, masks.map(pixels)]), [
    ["file", [[1, 0, 0, 1, 0, 0]]],
    ["memory", [[0, 1, 0, 0, 1, 0]]],
    ["outline", [[0, 1, 1, 0, 0, 0]]],
  ]);
  assertEquals(taught.regions, [{ kind: "mask", mask: mask([1, 0, 0, 1, 0, 0]) }]);
  assertEquals([...taught.image.data], [1, 2, 3, 4, 5, 6]);

  for (
    const finding of [
      { label: "file", boxes: [], maskFiles: ["b.png"] },
      { label: "memory", boxes: [], masks: [{ width: 2, height: 2, data: new Uint8Array(4) }] },
    ]
  ) {
    await assertRejects(
      () => taughtExample({ ...example, findings: [finding] }, folder, new Pictures(folder)),
      FieldError,
      "2x2 pixels and its picture 3x2",
    );
  }
});

Deno.test("pictures are decoded once as long as they fit", async () => {
  const { folder, opened } = counted();
  const pictures = new Pictures(folder, 8);
  for (const name of ["a.png", "a.png", "b.png", "b.png", "a.png"]) await pictures.get(name);
  // The two together are larger than the limit.
  assertEquals(opened, ["a.png", "b.png", "a.png"]);
});
