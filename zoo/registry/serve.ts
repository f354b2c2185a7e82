/**
 * A loopback JSR registry. It serves `@std/assert` and `@std/cli` from the npm package `deno-std` (the same library,
 * MIT) where the JSR registry cannot be reached, and any packages of a source tree that are added to it.
 *
 * The protocol is three kinds of GET: `/@scope/name/meta.json`, `/@scope/name/VERSION_meta.json` and the files.
 *
 * @module
 */

/** One package version in memory: its export map and the bytes of its files, keyed by absolute path (`/mod.ts`). */
export interface RegistryPackage {
  /** Scope without `@`. */
  scope: string;
  name: string;
  version: string;
  /** Export name to file, as in a package's `deno.json`. */
  exports: Record<string, string>;
  files: Map<string, Uint8Array<ArrayBuffer>>;
}

const stdVersion = "1.4.0";
const utf8 = new TextEncoder();

/** Ports tried in turn: a fixed port keeps Deno's caches, which are keyed by URL, warm between runs. */
const ports = Array.from({ length: 24 }, (_, index) => 47811 + index);

async function sha256(data: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", data);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function cacheFolder(): string {
  const home = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE") ?? ".";
  const root = Deno.env.get("XDG_CACHE_HOME") ?? Deno.env.get("LOCALAPPDATA") ?? `${home}/.cache`;
  return `${root}/medvlm-zoo/std-${stdVersion}`;
}

/** Bundles one entry of `deno-std` to a single file, once per machine. */
async function bundledStd(entry: string): Promise<string> {
  const folder = cacheFolder();
  const target = `${folder}/${entry.replaceAll("/", "_")}`;
  try {
    return await Deno.readTextFile(target);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await Deno.mkdir(folder, { recursive: true });
  const part = `${target}.${Deno.pid}.part`;
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--quiet",
      "--no-lock",
      "--no-config",
      "-o",
      part,
      `npm:deno-std@${stdVersion}/${entry}`,
    ],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) {
    throw new Error(
      `Cannot prepare the offline copy of the Deno standard library from npm: ${
        new TextDecoder().decode(stderr).trim()
      }`,
    );
  }
  await Deno.rename(part, target);
  return await Deno.readTextFile(target);
}

async function stdPackage(name: string, entries: Record<string, [string, string]>) {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const exports: Record<string, string> = {};
  for (const [key, [entry, types]] of Object.entries(entries)) {
    const file = `/${entry.replace(/^[^/]*\//, "")}`;
    const declaration = file.replace(/\.js$/, ".d.ts");
    exports[key] = `.${file}`;
    const source = await bundledStd(entry);
    files.set(file, utf8.encode(`/* @ts-self-types=".${declaration}" */\n${source}`));
    files.set(declaration, await Deno.readFile(new URL(types, import.meta.url)));
  }
  return { scope: "std", name, version: stdVersion, exports, files };
}

/** The two standard-library packages the project imports, from npm. */
export async function standardLibrary(): Promise<RegistryPackage[]> {
  return await Promise.all([
    stdPackage("assert", { ".": ["assert/mod.js", "./std_assert.d.ts"] }),
    stdPackage("cli", {
      ".": ["cli/parse_args.js", "./std_cli.d.ts"],
      "./parse-args": ["cli/parse_args.js", "./std_cli.d.ts"],
    }),
  ]);
}

/**
 * Serves the packages on 127.0.0.1 and returns the base URL to give to `JSR_URL`. The URL's path follows the content,
 * because Deno keeps what it has once read of a URL for good.
 *
 * @throws {Error} when no port of the fixed range is free.
 */
export async function serveRegistry(
  packages: RegistryPackage[],
): Promise<{ url: string; close(): Promise<void> }> {
  const answers = new Map<string, Uint8Array<ArrayBuffer>>();
  const json = (path: string, value: unknown) =>
    answers.set(path, utf8.encode(JSON.stringify(value)));
  const manifests: string[] = [];
  for (const entry of packages) {
    const root = `/@${entry.scope}/${entry.name}`;
    json(`${root}/meta.json`, {
      scope: entry.scope,
      name: entry.name,
      latest: entry.version,
      versions: { [entry.version]: {} },
    });
    const manifest: Record<string, { size: number; checksum: string }> = {};
    for (const [path, data] of entry.files) {
      manifest[path] = { size: data.byteLength, checksum: `sha256-${await sha256(data)}` };
      answers.set(`${root}/${entry.version}${path}`, data);
    }
    const meta = { manifest, exports: entry.exports };
    manifests.push(`${root}@${entry.version} ${JSON.stringify(meta)}`);
    json(`${root}/${entry.version}_meta.json`, meta);
  }
  const base = `/${(await sha256(utf8.encode(manifests.join("\n")))).slice(0, 16)}`;
  const handler = (request: Request) => {
    const { pathname } = new URL(request.url);
    const body = pathname.startsWith(base) ? answers.get(pathname.slice(base.length)) : undefined;
    return body === undefined ? new Response("not found", { status: 404 }) : new Response(body);
  };
  for (const port of ports) {
    try {
      const server = Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, handler);
      return { url: `http://127.0.0.1:${port}${base}/`, close: () => server.shutdown() };
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error("Cannot start the loopback registry: ports 47811 to 47834 are all in use");
}
