/**
 * `zoo phantoms`: writes a dataset of phantoms in a published format.
 *
 * @module
 */
import { type FolderWriter, InputError, isSafeName } from "@medvlm/core";
import type { Command, FlagValues } from "./flags.ts";
import {
  type PhantomCase,
  phantomCases,
  type PhantomFormat,
  phantomFormats,
} from "./phantoms/formats/mod.ts";
import { formatBytes, itemAmounts, Progress, type Terminal } from "./terminal.ts";

const formatNames = Object.keys(phantomFormats);

/** The flags of `zoo phantoms`. */
export const phantomsCommand = {
  name: "zoo phantoms",
  about:
    "Draws phantoms, pictures whose truth is known, and writes them as a dataset in a published format.",
  flags: {
    format: {
      kind: "choice",
      choices: formatNames,
      default: "medplib",
      about: "layout of the files; docs/phantoms.md describes each",
    },
    kind: {
      kind: "choice",
      choices: ["cxr", "ct"],
      about: "chest radiographs or CT; without it what the format holds, cxr where it holds both",
    },
    count: { kind: "whole", value: "N", min: 1, max: 1_000_000, default: 100, about: "how many" },
    size: {
      kind: "whole",
      value: "PX",
      min: 32,
      max: 1024,
      default: 256,
      about: "pixels in a row",
    },
    slices: {
      kind: "whole",
      value: "N",
      min: 1,
      max: 64,
      about:
        "slices of a CT volume; without it 16 for formats of volumes, 1 for formats of pictures",
    },
    seed: {
      kind: "whole",
      value: "N",
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      default: 0,
      about: "same seed, same bytes",
    },
    out: { kind: "text", value: "DIR", about: "folder to write; made if it does not exist" },
    force: {
      kind: "switch",
      about: "write into a folder that is not empty; files of the same names are replaced",
    },
    debug: { kind: "switch", about: "stack traces with errors" },
  },
} as const satisfies Command;

/** Values of the flags of `zoo phantoms`. */
export type PhantomsFlags = FlagValues<typeof phantomsCommand.flags>;

function usage(message: string): InputError {
  return new InputError("USAGE", message);
}

/** The phantoms that the flags ask for. */
function checkedCases(format: PhantomFormat, flags: PhantomsFlags): Generator<PhantomCase> {
  const { count, size, seed } = flags, kind = flags.kind ?? format.kinds[0];
  if (!format.kinds.includes(kind)) {
    throw usage(
      `Cannot write --kind ${kind} as ${format.name}: that format holds ${
        format.kinds[0]
      } only; choose another --format`,
    );
  }
  const most = format.most ?? Infinity;
  if (count > most) {
    throw usage(`Cannot write --count ${count} as ${format.name}: it holds at most ${most}`);
  }
  if (kind === "cxr" && flags.slices !== undefined) {
    throw usage("Cannot use --slices with --kind cxr: radiographs have none");
  }
  const pictures = !format.volumes && format.name !== "sheet";
  if (pictures && (flags.slices ?? 1) !== 1) {
    throw usage(
      `Cannot write --slices ${flags.slices} as ${format.name}: it holds single slices; use ct-rate or totalsegmentator for volumes`,
    );
  }
  const slices = flags.slices ?? (format.volumes ? 16 : 1);
  return phantomCases({ kind, count, size, slices, seed, parts: format.parts });
}

/** Makes the folder; refuses one that holds anything unless told otherwise. */
async function prepareFolder(path: string, force: boolean): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
    if (force) return;
    for await (const _ of Deno.readDir(path)) {
      throw new InputError(
        "NOT_EMPTY",
        `Cannot write to "${path}": the folder is not empty; name another, or add --force to replace files in it`,
      );
    }
  } catch (error) {
    throw explained(path, error);
  }
}

function explained(path: string, error: unknown): unknown {
  if (error instanceof InputError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new InputError(
    "NOT_WRITABLE",
    `Cannot write "${path}": ${reason}; check the folder and the free space`,
    { cause: error },
  );
}

/** Writes files below a folder, each under a temporary name first. */
class Folder implements FolderWriter {
  readonly name: string;
  /** Files so far. */
  files = 0;
  /** Bytes so far. */
  bytes = 0;
  readonly #made = new Set<string>();

  constructor(name: string) {
    this.name = name;
  }

  async write(
    name: string,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    if (!isSafeName(name)) throw new InputError("UNSAFE_PATH", `"${name}" leaves the folder`);
    const path = `${this.name}/${name}`, part = `${path}.part`;
    const parent = path.slice(0, path.lastIndexOf("/"));
    try {
      if (!this.#made.has(parent)) await Deno.mkdir(parent, { recursive: true });
      this.#made.add(parent);
      using file = await Deno.open(part, { write: true, create: true, truncate: true });
      for await (const chunk of chunks) {
        for (let done = 0; done < chunk.length;) done += await file.write(chunk.subarray(done));
        this.bytes += chunk.length;
      }
      await Deno.rename(part, path);
    } catch (error) {
      await Deno.remove(part).catch(() => {});
      throw explained(path, error);
    }
    this.files++;
  }
}

/** Passes phantoms on, shows how far it is, and stops when asked. */
function* watched(
  cases: Iterable<PhantomCase>,
  count: number,
  progress: Progress,
  signal: AbortSignal,
): Generator<PhantomCase> {
  let done = 0;
  for (const one of cases) {
    if (signal.aborted) {
      throw new Error("Stopped: the lists of the dataset are not written; run again with --force");
    }
    yield one;
    progress.update(++done, count);
  }
}

/**
 * Writes the dataset. Lists come last, so that a folder whose writing was stopped is not taken for a whole dataset.
 *
 * @throws {InputError} code `USAGE` for flags that do not fit together, `NOT_EMPTY` for a folder that holds something,
 * `NOT_WRITABLE` when a file cannot be written.
 */
export async function writePhantoms(
  flags: PhantomsFlags,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  if (flags.out === undefined || flags.out.trim() === "") {
    throw usage("Cannot write phantoms: there is no folder; add --out DIR");
  }
  const path = flags.out.replace(/(?<=.)\/+$/, ""), format = phantomFormats[flags.format];
  const cases = checkedCases(format, flags);
  await prepareFolder(path, flags.force);
  const folder = new Folder(path), progress = new Progress(terminal, "Drawing", itemAmounts);
  try {
    await format.write(watched(cases, flags.count, progress, signal), folder);
  } finally {
    progress.end();
  }
  const read = format.reader ? `; read it as ${format.reader}` : "";
  terminal.out(
    `Wrote ${flags.count} phantoms as ${format.name} to ${path}: ${folder.files} files, ${
      formatBytes(folder.bytes)
    }${read}.\n`,
  );
}
