/**
 * Folders of pictures with a mask file for each, told by their names: the form in which many small datasets are passed
 * on, such as the Montgomery County films with their lungs (Jaeger et al., 2014).
 *
 * @module
 */
import { type Example, type FolderSource, isSafeName } from "@medvlm/core";
import { type DatasetReader, defineReader, type Reading } from "./reader.ts";
import { splitInName } from "./vqa_records.ts";

const PICTURE = /\.(png|jpe?g)$/i;
/** Stem of a mask that lies beside its picture. */
const MASK_STEM = /^(.+)[-_]mask$/i;
/** Folders inside the dataset's that are looked into. */
const MAX_DEPTH = 3;
/** Names of folders that say nothing about what is in the masks, those of parts among them. */
const GENERAL =
  /^(\.*|data(set)?|images?|imgs|pictures|masks?|labels?|annotations?|train(ing)?|val(id|idate|idation)?|dev|test(ing)?)$/i;

/** Whether a file is a picture by its name; hidden files, such as those of macOS's archives, are none. */
const isPicture = (name: string) => PICTURE.test(name) && !name.startsWith(".");
const withoutEnding = (file: string) => file.replace(PICTURE, "");
const joined = (folder: string, name: string) => folder === "" ? name : `${folder}/${name}`;

/**
 * What masks show: the innermost folder above them, the dataset's own included, that names something; `mask` where none
 * does.
 */
function labelOf(source: FolderSource, folder: string): string {
  const own = source.name.replace(/[/\\]+$/, "").split(/[/\\]/).at(-1)!;
  return [own, ...folder.split("/")].findLast((name) => !GENERAL.test(name)) ?? "mask";
}

/** A picture and its mask, relative to the folder they were found in. */
interface Pair {
  readonly image: string;
  readonly mask: string;
}

/** What a folder holds: pairs, and what has no counterpart. */
interface Contents {
  readonly pairs: readonly Pair[];
  readonly problems: readonly { readonly file: string; readonly message: string }[];
}

/** The folder of the masks of a folder's pictures: `masks` inside, or the same path with `masks` for `images`. */
function maskFolderOf(folder: string): string {
  const beside = folder.replace(/(^|\/)images(?=\/|$)/, "$1masks");
  return beside === folder ? joined(folder, "masks") : beside;
}

/** Pairs of one folder: masks beside the pictures, or in a folder of masks. */
async function contentsOf(
  reading: Reading,
  source: FolderSource,
  folder: string,
  names: readonly string[],
): Promise<Contents> {
  const maskFolder = maskFolderOf(folder);
  // Where there is a folder of pictures, the masks are theirs.
  const apart = names.includes("images")
    ? []
    : (await reading.list(maskFolder, source)).filter(isPicture);
  const files = names.filter(isPicture);
  const pictures = files.filter((name) => !MASK_STEM.test(withoutEnding(name)));
  // The last of a name's masks wins, so that those beside the picture come last.
  const masks = new Map<string, string>();
  const stemOf = (mask: string) => MASK_STEM.exec(withoutEnding(mask))?.[1] ?? withoutEnding(mask);
  for (const name of apart) masks.set(stemOf(name), `${maskFolder}/${name}`);
  for (const name of files) {
    if (MASK_STEM.test(withoutEnding(name))) masks.set(stemOf(name), joined(folder, name));
  }
  const pairs: Pair[] = [], problems: { file: string; message: string }[] = [];
  const used = new Set<string>();
  for (const name of pictures) {
    const stem = withoutEnding(name), image = joined(folder, name), mask = masks.get(stem);
    if (mask === undefined) problems.push({ file: image, message: "it has no mask" });
    else if (used.has(stem)) problems.push({ file: image, message: `"${stem}" is there twice` });
    else pairs.push({ image, mask });
    used.add(stem);
  }
  for (const [stem, file] of masks) {
    if (!used.has(stem)) problems.push({ file, message: "it has no picture" });
  }
  // Pictures alone are something else.
  return { pairs, problems: pairs.length === 0 ? [] : problems };
}

async function* pairsBelow(
  reading: Reading,
  source: FolderSource,
  folder: string,
  depth: number,
): AsyncGenerator<Contents & { readonly folder: string }> {
  const names = await reading.list(folder === "" ? undefined : folder, source);
  yield { folder, ...await contentsOf(reading, source, folder, names) };
  if (depth === MAX_DEPTH) return;
  for (const name of names) {
    // Names with a dot are files; nothing in a folder of masks is a picture.
    if (isSafeName(name) && !name.includes(".") && name !== "masks") {
      yield* pairsBelow(reading, source, joined(folder, name), depth + 1);
    }
  }
}

/**
 * Pictures with one mask each. Everything that is not black in a mask belongs to what its folder is named after. Pictures
 * without mask and masks without picture are problems.
 */
export const maskPairs: DatasetReader = defineReader({
  name: "mask_pairs",
  description: "Folders of pictures with a mask file for each, named alike",
  files:
    "X.png or X.jpg with X-mask.png, X_mask.png or masks/X.png; or images/X.png with masks/X.png; here or in inner folders",
  async *examples(reading) {
    const source = reading.options.images ?? reading.folder;
    let found = false;
    for await (const { folder, pairs, problems } of pairsBelow(reading, source, "", 0)) {
      if (pairs.length === 0) continue;
      found = true;
      const split = splitInName(`${folder}/`);
      if (!reading.wants(split)) continue;
      for (const { file, message } of problems) reading.skip({ file }, message);
      const label = labelOf(source, folder), plain = label.replaceAll("_", " ");
      for (const { image, mask } of pairs) {
        const example = await reading.attempt({ file: image }, async (): Promise<Example> => ({
          id: image,
          image: await reading.image(image),
          task: "ground-mask",
          prompt: `Segment in this image: ${plain}.`,
          answer: `${plain}.`,
          findings: [{ label, boxes: [], maskFiles: [await reading.image(mask)] }],
          ...(split ? { split } : {}),
        }));
        if (example) yield example;
      }
    }
    if (!found) throw reading.noFiles("X-mask.png, X_mask.png and masks/X.png with a picture X");
  },
});
