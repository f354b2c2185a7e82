/**
 * Checks the direction of imports between packages and between the rooms of `core`.
 *
 * @module
 */

/** What each room of `core` may import, besides itself. A room that is not listed is an error. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  "errors.ts": [],
  "files.ts": ["errors.ts"],
  "json_fields.ts": ["errors.ts"],
  "random.ts": [],
  text: ["errors.ts", "files.ts"],
  image: ["errors.ts", "files.ts"],
  checkpoint: ["errors.ts", "files.ts", "kernels/quantise.ts"],
  eval: ["errors.ts", "files.ts", "random.ts", "text", "image", "kernels/assignment.ts"],
  device: ["errors.ts"],
  kernels: ["errors.ts", "random.ts", "device"],
  tensor: ["errors.ts", "device", "kernels"],
  nn: ["errors.ts", "files.ts", "checkpoint", "device", "kernels", "tensor"],
  train: ["errors.ts", "files.ts", "checkpoint", "device", "kernels", "tensor", "nn"],
  "example.ts": ["plugin.ts"],
  "search_options.ts": ["errors.ts"],
  "plugin.ts": [
    "errors.ts",
    "search_options.ts",
    "files.ts",
    "text",
    "image",
    "checkpoint",
    "device",
    "tensor",
    "nn",
    "train",
  ],
  minigpt: [
    "errors.ts",
    "files.ts",
    "json_fields.ts",
    "plugin.ts",
    "search_options.ts",
    "text",
    "image",
    "checkpoint",
    "device",
    "tensor",
    "nn",
    "train",
  ],
};

/** The only files that may use the host's own interface. */
const hostFiles = new Set(["core/files.ts"]);

/** The source without comments that start a line, so that examples in them do not count. */
function withoutComments(source: string): string {
  return source.replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, "").replace(/^[ \t]*\/\/.*$/gm, "");
}

/** Specifiers of the modules a source imports, whether static or dynamic. */
export function importsOf(source: string): string[] {
  const code = withoutComments(source);
  const found = [
    ...code.matchAll(/^[ \t]*(?:import|export)\b[^"'`;=(]*["']([^"']+)["']/gm),
    ...code.matchAll(/\bimport\(\s*["']([^"']+)["']/g),
  ];
  return found.map(([, specifier]) => specifier)
    .filter((specifier) => /^\.{1,2}\/|^@medvlm\/|^jsr:@medvlm\/|^file:/.test(specifier));
}

/** Path of an imported module from the root of the tree; packages keep their name. */
function resolve(from: string, specifier: string): string {
  const own = specifier.replace(/^jsr:/, "").match(/^@medvlm\/([a-z0-9]+)/);
  if (own) return own[1] === "core" || own[1] === "zoo" ? `${own[1]}/` : `plugins/${own[1]}/`;
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}

function roomOf(path: string): string {
  return path.split("/")[1];
}

function coreProblem(path: string, target: string): string | undefined {
  if (!target.startsWith("core/")) return "core imports nothing of the other packages";
  const from = roomOf(path), to = roomOf(target);
  if (from === to || from === "mod.ts") return undefined;
  const allowed = rooms[from];
  if (allowed === undefined) return `core/${from} is not in the table of rooms`;
  if (allowed.includes(to) || allowed.includes(target.slice("core/".length))) return undefined;
  return `core/${from} may import ${allowed.join(", ") || "nothing"}`;
}

function packageProblem(path: string, target: string): string | undefined {
  const [top, plugin] = path.split("/");
  if (top === "core") return coreProblem(path, target);
  if (top === "plugins") {
    const allowed = target === "core/" || target.startsWith(`plugins/${plugin}/`);
    return allowed ? undefined : "a plugin imports itself and the entries of @medvlm/core only";
  }
  if (top === "zoo") {
    const outside = /^(tests|bench|docs)\//.test(target);
    return outside ? "zoo imports core and plugins only" : undefined;
  }
  return undefined;
}

/** Imports and uses in one source file that break the rules; tests are free. */
export function importProblems(path: string, source: string): string[] {
  if (/_test(ing)?\.ts$/.test(path) || !/\.ts$/.test(path)) return [];
  const problems = importsOf(source).flatMap((specifier) => {
    const problem = packageProblem(path, resolve(path, specifier));
    return problem === undefined ? [] : [`${path}: imports "${specifier}", but ${problem}`];
  });
  const runsAnywhere = path.startsWith("core/") || path.startsWith("plugins/");
  if (runsAnywhere && !hostFiles.has(path)) {
    const uses = withoutComments(source).match(/(?<![\w."'`])Deno\.\w+|["']node:[^"']+["']/);
    if (uses) problems.push(`${path}: uses ${uses[0]}, which only core/files.ts may`);
  }
  return problems;
}
