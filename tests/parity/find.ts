/**
 * Finds reference cases below a folder. A case's kind is in its path: `…/medplib/<kind>` with a `case.json`, or a
 * collection `…/containers`, `…/tokenizers`, `…/preprocess`. Names may carry suffixes (`moe-layer-seed7`), cases may lie
 * deeper (`moe-layer/seed7`), and the folder searched may lie above, at or inside a case.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import type { Device } from "@medvlm/core/device";
import type { FoundCase, Report } from "./harness.ts";

/** Opens the device when a case needs one; later calls return the same. */
export type DeviceOf = () => Promise<Device>;

/** A case, or a kind that is known and not supported yet. */
export type Found =
  | { readonly kind: string; readonly path: string; readonly cases: readonly FoundCase[] }
  | { readonly kind: string; readonly path: string; readonly unsupported: true };

type RunKind = (dir: string, report: Report, device: Device) => Promise<void>;

/** Collections: folders with an index of their own, each read by one module. */
const collections: Readonly<Record<string, (dir: string) => Promise<FoundCase[]>>> = {
  containers: async (dir) => (await import("./containers.ts")).findContainerCases(dir),
  tokenizers: async (dir) => (await import("./tokenizers.ts")).findTokenizerCases(dir),
  preprocess: async (dir) => (await import("./preprocess.ts")).findPreprocessCases(dir),
  metrics: async (dir) => (await import("./metrics.ts")).findMetricCases(dir),
};

type Handlers = Readonly<Record<string, () => Promise<Readonly<Record<string, RunKind>>>>>;

/** Systems with one handler per kind. */
const systems: Handlers = {
  medplib: async () => (await import("./medplib.ts")).medplibKinds,
  pefomed: async () => (await import("./pefomed.ts")).pefomedKinds,
  pfmvg: async () => (await import("./pfmvg.ts")).pfmvgKinds,
  "minigpt-v2": async () => (await import("./minigpt.ts")).minigptKinds,
  vividmed: async () => (await import("./vividmed.ts")).vividmedKinds,
};

/** Topics with one handler per kind. */
const topics: Handlers = {
  training: async () => (await import("./training.ts")).trainingKinds,
};

const handlers: Handlers = { ...systems, ...topics };

/** Systems whose cases nothing here compares yet. */
const otherSystems: readonly string[] = ["minigpt-v2", "litegpt"];

const models = [...Object.keys(systems), ...otherSystems];
const groups = [...models, ...Object.keys(topics), ...Object.keys(collections)];

/** The longest known name that a folder's name is, or starts with before a separator. */
export function matchName(folder: string, known: readonly string[]): string | undefined {
  return known
    .filter((name) =>
      folder === name || (folder.startsWith(name) && /[-_.@ 0-9]/.test(folder[name.length]))
    )
    .sort((a, b) => b.length - a.length)[0];
}

interface Place {
  readonly group: string;
  /** Which segment of the path names the group. */
  readonly at: number;
}

function innermost(segments: readonly string[], known: readonly string[]): Place | undefined {
  const at = segments.findLastIndex((segment) => matchName(segment, known) !== undefined);
  return at < 0 ? undefined : { group: matchName(segments[at], known)!, at };
}

/**
 * The group that a path belongs to: the innermost name of a group, except that `preprocess` below a system is one of
 * that system's kinds.
 */
function groupOf(segments: readonly string[]): Place | undefined {
  const place = innermost(segments, groups);
  if (place?.group !== "preprocess") return place;
  return innermost(segments, models) ?? place;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}

async function subfolders(path: string): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(path)) {
    const isFolder = entry.isDirectory ||
      (entry.isSymlink && (await Deno.stat(`${path}/${entry.name}`)).isDirectory);
    if (isFolder && !entry.name.startsWith(".")) names.push(entry.name);
  }
  return names.sort();
}

/** Cases of one system's or topic's folder; the kind is the innermost folder name that is one. */
async function systemCase(
  group: string,
  path: string,
  below: readonly string[],
  device: DeviceOf,
): Promise<Found> {
  const kinds = await handlers[group]();
  const names = Object.keys(kinds);
  const kind = below.map((segment) => matchName(segment, names)).findLast((one) =>
    one !== undefined
  );
  if (kind === undefined) return { kind: `${group}/${below.join("/")}`, path, unsupported: true };
  return {
    kind: `${group}/${kind}`,
    path,
    cases: [{
      name: [group, ...below].join("/"),
      run: async (report) => await kinds[kind](path, report, await device()),
    }],
  };
}

/** Whether a folder is the root of a collection: the files that its reader starts from lie there. */
async function isCollection(group: string, path: string): Promise<boolean> {
  if (group === "containers") return await isFile(`${path}/index.json`);
  if (group === "metrics") return matchName(path.split("/").at(-1)!, ["metrics"]) !== undefined;
  if (group === "tokenizers" && await isFile(`${path}/tokenizer.model`)) return true;
  for (const child of await subfolders(path)) {
    const marker = group === "preprocess" ? "case.json" : "tokenizer.model";
    if (await isFile(`${path}/${child}/${marker}`)) return true;
  }
  return false;
}

/** All cases of the collection at `root`; `inside` keeps those of one folder or file of it. */
async function collectionCases(group: string, root: string, inside: string): Promise<Found> {
  let all: FoundCase[];
  try {
    all = await collections[group](root);
  } catch (error) {
    // An index that cannot be read is a failed case, not the end of the run.
    const name = `${group}/${inside || "index"}`;
    return { kind: group, path: root, cases: [{ name, run: () => Promise.reject(error) }] };
  }
  const prefix = `${group}/${inside}`;
  const cases = inside === ""
    ? all
    : all.filter(({ name }) => name === prefix || name.startsWith(`${prefix}/`));
  return { kind: group, path: root, cases };
}

async function walk(path: string, device: DeviceOf, found: Found[], depth: number): Promise<void> {
  if (depth > 16) return;
  const segments = path.split("/").filter((segment) => segment !== "");
  const place = groupOf(segments);
  if (place !== undefined) {
    const { group, at } = place;
    const below = segments.slice(at + 1);
    if (Object.hasOwn(collections, group)) {
      if (await isCollection(group, path)) {
        found.push(await collectionCases(group, path, ""));
        return;
      }
    } else if (await isFile(`${path}/case.json`)) {
      found.push(
        Object.hasOwn(handlers, group)
          ? await systemCase(group, path, below, device)
          : { kind: [group, ...below].join("/"), path, unsupported: true },
      );
      return;
    }
  }
  for (const child of await subfolders(path)) {
    await walk(`${path}/${child}`, device, found, depth + 1);
  }
}

/** Looks upwards: the folder searched may lie inside a collection or a case. */
async function around(path: string, device: DeviceOf): Promise<Found[]> {
  const segments = path.split("/").filter((segment) => segment !== "");
  const place = groupOf(segments);
  if (place === undefined) return [];
  for (let end = segments.length - 1; end > place.at; end--) {
    const root = `/${segments.slice(0, end).join("/")}`;
    const inside = segments.slice(end).join("/");
    if (Object.hasOwn(collections, place.group)) {
      if (await isCollection(place.group, root)) {
        return [await collectionCases(place.group, root, inside)];
      }
    } else if (Object.hasOwn(handlers, place.group) && await isFile(`${root}/case.json`)) {
      return [await systemCase(place.group, root, segments.slice(place.at + 1, end), device)];
    }
  }
  return [];
}

/**
 * Finds the cases below, at or around a folder.
 *
 * @throws {InputError} code `NOT_FOUND` when there is no such folder, `NO_CASES` when it holds no case of any kind.
 */
export async function findCases(dir: string, device: DeviceOf): Promise<Found[]> {
  let path: string;
  try {
    path = await Deno.realPath(dir);
    if (!(await Deno.stat(path)).isDirectory) throw new Deno.errors.NotADirectory("not a folder");
  } catch {
    throw new InputError(
      "NOT_FOUND",
      `Cannot look for reference cases in "${dir}": there is no such folder; check the path`,
    );
  }
  const found: Found[] = [];
  await walk(path, device, found, 0);
  const all = found.length > 0 ? found : await around(path, device);
  if (all.every((one) => "cases" in one && one.cases.length === 0)) {
    throw new InputError(
      "NO_CASES",
      `Cannot find a reference case in "${dir}": the path of a case names its kind (${
        groups.join(", ")
      }); check the path`,
    );
  }
  return all;
}
