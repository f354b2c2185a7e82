/** Files in memory for tests of readers. */
import { assertEquals } from "@std/assert";
import {
  bytesSource,
  type Example,
  type FileSource,
  type FolderSource,
  openFolder,
} from "@medvlm/core";
import { memoryFolder } from "@medvlm/core/checkpoint";
import { datasets, type Problem, type ReadOptions } from "./mod.ts";

const encoder = new TextEncoder();

/** A file of this text or these bytes. */
export function textFile(content: string | Uint8Array, name = "file"): FileSource {
  const bytes = typeof content === "string" ? encoder.encode(content) : new Uint8Array(content);
  return bytesSource(name, bytes);
}

/** A folder of these files; pictures may be empty files. */
export function folderOf(files: Record<string, string | Uint8Array>): FolderSource {
  return memoryFolder(
    "folder",
    new Map(
      Object.entries(files).map(([name, content]) => [
        name,
        typeof content === "string" ? encoder.encode(content) : new Uint8Array(content),
      ]),
    ),
  );
}

/** All values of a stream. */
export async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** A sample of a dataset among the reference files. */
export function goldenFolder(name: string): Promise<FolderSource> {
  return openFolder(
    decodeURI(new URL(`../../tests/golden/data/${name}`, import.meta.url).pathname),
  );
}

/** What a reader gave and what it left out. */
export interface Result {
  readonly examples: Example[];
  readonly problems: Problem[];
}

/** Reads everything, and checks that counts and reports agree and no id is there twice in a part. */
export async function readAllExamples(
  name: string,
  folder: FolderSource | Promise<FolderSource>,
  options: ReadOptions = {},
): Promise<Result> {
  const problems: Problem[] = [];
  const report = (problem: Problem) => problems.push(problem);
  const reading = datasets[name].read(await folder, { report, ...options });
  const examples = await collect(reading);
  assertEquals(reading.read, examples.length);
  assertEquals(reading.skipped, problems.length);
  assertEquals(new Set(examples.map(({ id, split }) => `${split} ${id}`)).size, examples.length);
  return { examples, problems };
}
