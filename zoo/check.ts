/**
 * `deno task check`: everything a change must pass besides the tests. One line per step; the output of a step is shown
 * when it fails.
 *
 * @module
 */
import { importProblems } from "./check_imports.ts";
import { decodeText, textProblems } from "./check_text.ts";
import { processTerminal as terminal } from "./terminal.ts";

const root = decodeURIComponent(new URL("../", import.meta.url).pathname);
const decoder = new TextDecoder();

/** What a step found wrong; empty when it passed. */
type Step = readonly [name: string, run: () => Promise<string>];

interface PackageConfig {
  readonly exports: Readonly<Record<string, string>>;
}

// The committed lock file must not record the hashes of a stand-in registry.
const lock = Deno.env.get("JSR_URL") ? ["--no-lock"] : [];

async function deno(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    stdout: "piped",
    stderr: "piped",
  }).output();
  return success ? "" : `${decoder.decode(stdout)}${decoder.decode(stderr)}`.trim() || "failed";
}

async function readConfig<T>(path: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(`${root}${path}`)) as T;
}

/** Entry files of every package of the workspace. */
async function entries(): Promise<string[]> {
  const { workspace } = await readConfig<{ workspace: string[] }>("deno.json");
  const lists = await Promise.all(workspace.map(async (folder) => {
    const { exports } = await readConfig<PackageConfig>(`${folder}/deno.json`);
    return Object.values(exports).map((file) => `${folder}/${file.replace(/^\.\//, "")}`);
  }));
  return lists.flat();
}

/** Files of the tree as git knows them, untracked ones that are not ignored included. */
async function files(): Promise<string[]> {
  const { success, stdout, stderr } = await new Deno.Command("git", {
    args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd: root,
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(`Cannot list the files with git: ${decoder.decode(stderr).trim()}`);
  return decoder.decode(stdout).split("\0").filter((path) => path !== "");
}

/** Reads every text file of the tree and collects what `examine` finds wrong. */
async function inFiles(examine: (path: string, text: string) => string[]): Promise<string> {
  const problems: string[] = [];
  for (const path of await files()) {
    let bytes: Uint8Array;
    try {
      if (!(await Deno.lstat(`${root}${path}`)).isFile) continue;
      bytes = await Deno.readFile(`${root}${path}`);
    } catch (error) {
      // Deleted and not committed yet.
      if (error instanceof Deno.errors.NotFound) continue;
      throw error;
    }
    const text = decodeText(bytes);
    if (text !== undefined) problems.push(...examine(path, text));
  }
  return problems.join("\n");
}

/** Hosts that this machine's package managers are told to use: a proxy's name must not enter the tree either. */
function configuredHosts(): string[] {
  return ["NPM_CONFIG_REGISTRY", "npm_config_registry"].flatMap((name) => {
    const url = Deno.env.get(name);
    return url !== undefined && URL.canParse(url) ? [new URL(url).hostname] : [];
  }).filter((host) => host.includes("."));
}

const steps: readonly Step[] = [
  ["format", () => deno("fmt", "--check", "--quiet")],
  ["lint", () => deno("lint", "--quiet")],
  ["types", () => deno("check", ...lock, "--quiet", ".")],
  ["imports", () => inFiles(importProblems)],
  ["no machine paths, no registry hosts", () => {
    const hosts = configuredHosts();
    return inFiles((path, text) => textProblems(path, text, hosts));
  }],
  ["docs", async () => await deno("doc", "--lint", "--quiet", ...lock, ...await entries())],
  ["publish dry run", () => deno("publish", "--dry-run", "--allow-dirty", "--quiet", ...lock)],
];

if (import.meta.main) {
  let failed = 0;
  for (const [name, run] of steps) {
    const start = performance.now();
    let problem: string;
    try {
      problem = await run();
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    terminal.out(`${problem === "" ? "ok    " : "FAILED"} ${name} (${seconds} s)\n`);
    if (problem !== "") {
      failed++;
      terminal.out(`${problem}\n`);
    }
  }
  terminal.out(
    failed === 0 ? "All checks passed\n" : `${failed} of ${steps.length} checks failed\n`,
  );
  Deno.exit(failed === 0 ? 0 : 1);
}
