/**
 * Starts every task. It imports nothing from JSR, so it runs on any machine; it then starts the real program, with a
 * loopback registry in front of it where JSR itself cannot be reached (hospital proxies, air-gapped sites).
 *
 * @module
 */
import { serveRegistry, standardLibrary } from "./registry/serve.ts";

const root = new URL("../", import.meta.url);
const [command = "", ...rest] = Deno.args;
const file = (path: string) => decodeURIComponent(new URL(path, root).pathname);

/** Whether the `jsr:` imports resolve as they are: from the cache or from the registry, within five seconds. */
async function jsrResolves(): Promise<boolean> {
  if (Deno.env.get("JSR_URL")) return true;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), 5000);
  try {
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["cache", "--no-lock", "--no-config", "jsr:@std/assert@^1", "jsr:@std/cli@^1"],
      stdout: "null",
      stderr: "null",
      signal: abort.signal,
    }).output();
    return success;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

const env: Record<string, string> = {};
let lock: string[] = [];
let registry: { close(): Promise<void> } | undefined;
if (!(await jsrResolves())) {
  try {
    const served = await serveRegistry(await standardLibrary());
    registry = served;
    env.JSR_URL = served.url;
    // The committed lock file must not record the stand-in's hashes.
    lock = ["--no-lock"];
  } catch (error) {
    console.error(`Error: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}

// Linux graphics drivers complain on standard error where this is not set; an existing folder is enough.
if (Deno.build.os === "linux" && !Deno.env.get("XDG_RUNTIME_DIR")) {
  env.XDG_RUNTIME_DIR = file(".");
}

const run = (
  script: string,
  args: string[],
) => ["run", "-A", "--quiet", ...lock, file(script), ...args];
const callerFolder = Deno.env.get("INIT_CWD") ?? Deno.cwd();
const programs: Record<string, { args: string[]; cwd?: string }> = {
  test: { args: ["test", "-A", "--quiet", ...lock, ...rest], cwd: file(".") },
  check: { args: run("zoo/check.ts", rest), cwd: file(".") },
  parity: { args: run("tests/parity/main.ts", rest) },
  bench: { args: run("bench/main.ts", rest) },
};
const program = programs[command] ?? { args: run("zoo/main.ts", [command, ...rest]) };
const child = new Deno.Command(Deno.execPath(), {
  args: program.args,
  cwd: program.cwd ?? callerFolder,
  env,
  stdin: "inherit",
  stdout: "inherit",
  stderr: "inherit",
}).spawn();
for (
  const signal of Deno.build.os === "windows" ? ["SIGINT"] as const : ["SIGINT", "SIGTERM"] as const
) {
  Deno.addSignalListener(signal, () => {
    try {
      child.kill(signal);
    } catch {
      // The child has ended already.
    }
  });
}
const { code } = await child.status;
await registry?.close();
Deno.exit(code);
