/**
 * Files behind small interfaces, so that everything above runs unchanged in Deno and in a browser. Only this module
 * touches the file system.
 *
 * @module
 */
import { InputError } from "./errors.ts";

/** A file that can be read at any offset. Readers never need the whole file in memory. */
export interface FileSource extends Disposable {
  /** Name for messages: a path, or the name the user gave. */
  readonly name: string;
  /** Size in bytes. */
  readonly size: number;
  /**
   * Reads exactly `length` bytes from `offset`.
   *
   * @throws {InputError} code `TRUNCATED` when the range leaves the file.
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** A folder of files, such as a checkpoint directory. Names are relative and never leave the folder. */
export interface FolderSource {
  /** Name for messages. */
  readonly name: string;
  /**
   * Names of the entries, sorted.
   *
   * @param folder A folder inside, such as `images/train`; default the folder itself.
   * @throws {InputError} code `UNSAFE_PATH` when the name leaves the folder, `NOT_FOUND` when there is no such folder.
   */
  list(folder?: string): Promise<string[]>;
  /** Whether a file of this name exists. */
  has(name: string): Promise<boolean>;
  /**
   * Opens a file of the folder.
   *
   * @throws {InputError} code `UNSAFE_PATH` when the name leaves the folder, `NOT_FOUND` when there is no such file.
   */
  open(name: string): Promise<FileSource>;
}

/** Whether a relative name stays inside its folder: not absolute, no `..`, no NUL, no backslash, no drive. */
export function isSafeName(name: string): boolean {
  if (name === "" || name.length > 4096 || /[\0\\]/.test(name) || /^[/]|^[a-zA-Z]:/.test(name)) {
    return false;
  }
  return name.split("/").every((part) => part !== ".." && part !== "");
}

function checkRange(name: string, size: number, offset: number, length: number): void {
  if (
    !Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0 ||
    offset + length > size
  ) {
    throw new InputError(
      "TRUNCATED",
      `Cannot read ${length} bytes at ${offset} of "${name}": the file has ${size} bytes; it may be incomplete, fetch it again`,
    );
  }
}

/** A file held in memory. */
export function bytesSource(name: string, bytes: Uint8Array<ArrayBuffer>): FileSource {
  return {
    name,
    size: bytes.byteLength,
    read(offset, length) {
      checkRange(name, bytes.byteLength, offset, length);
      return Promise.resolve(bytes.slice(offset, offset + length));
    },
    [Symbol.dispose]() {},
  };
}

/** Turns a failed file operation into one sentence. */
function explain(action: string, path: string, error: unknown): InputError {
  if (error instanceof Deno.errors.NotFound) {
    return new InputError("NOT_FOUND", `Cannot ${action} "${path}": no such file; check the path`, {
      cause: error,
    });
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return new InputError("NOT_READABLE", `Cannot ${action} "${path}": permission denied`, {
      cause: error,
    });
  }
  return new InputError(
    "NOT_READABLE",
    `Cannot ${action} "${path}": ${error instanceof Error ? error.message : error}`,
    {
      cause: error,
    },
  );
}

/**
 * Opens a file for reading at any offset (Deno).
 *
 * @throws {InputError} when the file does not exist, is a folder or cannot be read.
 */
export async function openFile(path: string): Promise<FileSource> {
  let file: Deno.FsFile;
  let size: number;
  try {
    file = await Deno.open(path, { read: true });
  } catch (error) {
    throw explain("open", path, error);
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile) {
      throw new InputError("NOT_READABLE", `Cannot open "${path}": it is not a regular file`);
    }
    size = stat.size;
  } catch (error) {
    file.close();
    throw error;
  }
  return {
    name: path,
    size,
    async read(offset, length) {
      checkRange(path, size, offset, length);
      const bytes = new Uint8Array(length);
      // Positioned reads are not atomic in Deno; seek and read synchronously so that concurrent reads cannot mix.
      await Promise.resolve();
      file.seekSync(offset, Deno.SeekMode.Start);
      for (let done = 0; done < length;) {
        const count = file.readSync(bytes.subarray(done));
        if (count === null) {
          throw new InputError(
            "TRUNCATED",
            `Cannot read "${path}": it became shorter while being read`,
          );
        }
        done += count;
      }
      return bytes;
    },
    [Symbol.dispose]() {
      file.close();
    },
  };
}

/**
 * A folder on disk (Deno).
 *
 * @throws {InputError} code `NOT_FOUND` when it does not exist or is not a folder.
 */
export async function openFolder(path: string): Promise<FolderSource> {
  try {
    if (!(await Deno.stat(path)).isDirectory) {
      throw new InputError("NOT_FOUND", `Cannot open "${path}": it is not a folder`);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw explain("open", path, error);
  }
  const join = (name: string) => {
    if (!isSafeName(name)) {
      throw new InputError(
        "UNSAFE_PATH",
        `Cannot open "${name}" of "${path}": the name leaves the folder`,
      );
    }
    return `${path.replace(/\/+$/, "")}/${name}`;
  };
  return {
    name: path,
    async list(folder) {
      const inner = folder === undefined ? path : join(folder);
      const names: string[] = [];
      try {
        for await (const entry of Deno.readDir(inner)) names.push(entry.name);
      } catch (error) {
        if (error instanceof Deno.errors.NotADirectory) {
          throw new InputError("NOT_FOUND", `Cannot list "${inner}": it is not a folder`);
        }
        throw explain("list", inner, error);
      }
      return names.sort();
    },
    async has(name) {
      try {
        return (await Deno.stat(join(name))).isFile;
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return false;
        throw error;
      }
    },
    open: (name) => openFile(join(name)),
  };
}

/** Reads a whole file of at most `limit` bytes. */
export async function readAll(path: string, limit = 2 ** 30): Promise<Uint8Array<ArrayBuffer>> {
  using source = await openFile(path);
  if (source.size > limit) {
    throw new InputError(
      "TOO_LARGE",
      `Cannot read "${path}": ${source.size} bytes are more than the ${limit} allowed`,
    );
  }
  return await source.read(0, source.size);
}

/**
 * Writes a file under a temporary name, syncs it and renames it, so that a crash or a full disk leaves either the old
 * file or none.
 *
 * @throws {InputError} code `NOT_WRITABLE` when the target cannot be written; the temporary file is removed.
 */
export async function writeAtomic(
  path: string,
  chunks: Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const part = `${path}.${crypto.randomUUID().slice(0, 8)}.part`;
  const parts = typeof chunks === "string"
    ? [new TextEncoder().encode(chunks)]
    : chunks instanceof Uint8Array
    ? [chunks]
    : chunks;
  try {
    const file = await Deno.open(part, { write: true, createNew: true });
    try {
      for await (const chunk of parts) {
        for (let done = 0; done < chunk.byteLength;) done += await file.write(chunk.subarray(done));
      }
      await file.syncData();
    } finally {
      file.close();
    }
    await Deno.rename(part, path);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    if (error instanceof InputError) throw error;
    throw new InputError(
      "NOT_WRITABLE",
      `Cannot write "${path}": ${
        error instanceof Error ? error.message : error
      }; check the folder and the free space`,
      { cause: error },
    );
  }
}

/**
 * Makes a folder and those above it, where they do not exist yet (Deno).
 *
 * @throws {InputError} code `NOT_WRITABLE` when it cannot be made.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    throw new InputError(
      "NOT_WRITABLE",
      `Cannot make the folder "${path}": ${error instanceof Error ? error.message : error}`,
      { cause: error },
    );
  }
}

/**
 * Reads a JSON object of at most `limit` bytes from a folder.
 *
 * @throws {InputError} code `INVALID_JSON` naming the file and the position, or as {@linkcode FolderSource.open} does.
 */
export async function readJson(
  folder: FolderSource,
  name: string,
  limit = 2 ** 24,
): Promise<Record<string, unknown>> {
  using file = await folder.open(name);
  if (file.size > limit) {
    throw new InputError(
      "TOO_LARGE",
      `Cannot read "${file.name}": ${file.size} bytes are more than the ${limit} allowed`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(await file.read(0, file.size)),
    );
  } catch (error) {
    if (error instanceof InputError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(
      "INVALID_JSON",
      `Cannot read "${file.name}": ${reason}; the file may be incomplete`,
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InputError("INVALID_JSON", `Cannot read "${file.name}": expected a JSON object`);
  }
  return value as Record<string, unknown>;
}
