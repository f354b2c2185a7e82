/**
 * The packages of a source tree as a registry serves them: files without tests, bare specifiers spelled out.
 *
 * @module
 */
import type { RegistryPackage } from "./serve.ts";

interface PackageConfig {
  name: string;
  version: string;
  exports: Record<string, string>;
}

async function readConfig<T>(url: URL): Promise<T> {
  return JSON.parse(await Deno.readTextFile(url)) as T;
}

async function* sources(folder: URL, path = "/"): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(new URL(`.${path}`, folder))) {
    const child = `${path}${entry.name}`;
    if (entry.isDirectory) yield* sources(folder, `${child}/`);
    else if (!/_test\.ts$|_testing\.ts$/.test(entry.name)) yield child;
  }
}

/**
 * Spells bare specifiers out, as publishing does: `fflate` becomes `npm:fflate@^0.8.3`, `@medvlm/core/nn` becomes
 * `jsr:@medvlm/core@^0.1.0/nn`.
 */
export function spellOut(source: string, imports: Readonly<Record<string, string>>): string {
  return source.replace(
    /(\bfrom\s+|\bimport\s+|\bimport\()"([^".:][^":]*)"/g,
    (whole, before: string, specifier: string) => {
      const name = Object.keys(imports).find((one) =>
        specifier === one || specifier.startsWith(`${one}/`)
      );
      return name === undefined
        ? whole
        : `${before}"${imports[name]}${specifier.slice(name.length)}"`;
    },
  );
}

/**
 * Reads the members of a workspace.
 *
 * @param root Folder of the root `deno.json`, ending in a slash.
 */
export async function workspacePackages(root: URL): Promise<RegistryPackage[]> {
  const { workspace, imports } = await readConfig<
    { workspace: string[]; imports: Record<string, string> }
  >(
    new URL("deno.json", root),
  );
  const members = await Promise.all(workspace.map(async (path) => {
    const folder = new URL(`${path}/`, root);
    return { folder, config: await readConfig<PackageConfig>(new URL("deno.json", folder)) };
  }));
  const known = { ...imports };
  for (const { config } of members) known[config.name] = `jsr:${config.name}@^${config.version}`;
  return await Promise.all(members.map(async ({ folder, config }) => {
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    for await (const path of sources(folder)) {
      const bytes = await Deno.readFile(new URL(`.${path}`, folder));
      files.set(
        path,
        path.endsWith(".ts")
          ? new TextEncoder().encode(spellOut(new TextDecoder().decode(bytes), known))
          : bytes,
      );
    }
    const [scope, name] = config.name.slice(1).split("/") as [string, string];
    return { scope, name, version: config.version, exports: config.exports, files };
  }));
}
