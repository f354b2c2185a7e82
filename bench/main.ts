/**
 * `deno task bench`: our kernels head to head with onnxruntime-web.
 *
 * @module
 */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "@std/cli";
import { openDevice } from "../core/device/mod.ts";
import { InputError } from "../core/errors.ts";
import { writeAtomic } from "../core/files.ts";
import { kernelRows } from "./kernel_rows.ts";
import { type KernelResult, runRow } from "./kernels.ts";
import { describeMachine, machineSlug, machineText } from "./machine.ts";
import { resultJson, resultLine, resultMarkdown, resultTable } from "./report.ts";

const usage = `deno task bench --kernels [options]

Times our kernels and onnxruntime-web's WebGPU and WebAssembly providers in turns on the same data, after checking
everybody's results against double precision.

  --kernels       the kernel benchmark
  --filter TEXT   only rows whose name contains TEXT
  --seconds N     time for the turns of each row (default 6; at least three turns each are made)
  --device NAME   webgpu (default), wasm or auto: what ours runs on
  --json          JSON on standard output instead of the table
  --markdown      the table in Markdown
  --save          also write bench/results/<date>-<machine>.json
  --help          this text`;

interface Options {
  readonly filter: string;
  readonly seconds: number;
  readonly device: "auto" | "webgpu" | "wasm";
  readonly json: boolean;
  readonly markdown: boolean;
  readonly save: boolean;
}

/** Reads the flags. @throws {InputError} code `USAGE` when they make no sense. */
export function parseOptions(args: readonly string[]): Options | "help" {
  const flags = parseArgs([...args], {
    boolean: ["kernels", "json", "markdown", "save", "help"],
    string: ["filter", "seconds", "device"],
    default: { filter: "", seconds: "6", device: "webgpu" },
    unknown: (flag) => {
      throw new InputError(
        "USAGE",
        `Cannot read the option ${flag} of bench: it does not exist; see deno task bench --help`,
      );
    },
  });
  if (flags.help) return "help";
  if (!flags.kernels) {
    throw new InputError(
      "USAGE",
      "Cannot run bench without the name of a benchmark: there is one, --kernels (our kernels against onnxruntime-web)",
    );
  }
  const seconds = Number(flags.seconds);
  if (!(seconds > 0 && seconds <= 3600)) {
    throw new InputError(
      "USAGE",
      `Cannot measure for --seconds ${flags.seconds}: expected a number above 0, at most 3600`,
    );
  }
  const { device } = flags;
  if (device !== "auto" && device !== "webgpu" && device !== "wasm") {
    throw new InputError(
      "USAGE",
      `Cannot run on --device ${device}: expected webgpu, wasm or auto`,
    );
  }
  const { filter, json, markdown, save } = flags;
  return { filter, seconds, device, json, markdown, save };
}

async function benchmark({ filter, seconds, device: kind, json, markdown, save }: Options) {
  const rows = kernelRows.filter(({ name }) => name.includes(filter));
  if (rows.length === 0) {
    throw new InputError(
      "USAGE",
      `Cannot run bench --filter ${filter}: no row contains that text; the rows are ${
        kernelRows.map(({ name }) => `"${name}"`).join(", ")
      }`,
    );
  }
  await using device = await openDevice({ device: kind });
  const machine = describeMachine(device);
  const date = new Date();
  if (!json) console.log(`${machineText(machine)}\n`);
  const results: KernelResult[] = [];
  for (const [index, row] of rows.entries()) {
    const result = await runRow(device, row, { seconds });
    results.push(result);
    console.error(`[${index + 1}/${rows.length}] ${resultLine(result)}`);
  }
  const text = resultJson(machine, date, results);
  console.log(json ? text : markdown ? resultMarkdown(results) : `\n${resultTable(results)}`);
  if (save) {
    const name = `results/${date.toISOString().slice(0, 10)}-${machineSlug(machine)}.json`;
    const path = fileURLToPath(new URL(name, import.meta.url));
    await Deno.mkdir(dirname(path), { recursive: true });
    await writeAtomic(path, new TextEncoder().encode(`${text}\n`));
    console.error(`Wrote ${path}`);
  }
}

/** Runs the command. @returns The exit code: 0 done, 1 failed, 2 wrong usage. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options === "help") console.log(usage);
    else await benchmark(options);
    return 0;
  } catch (error) {
    console.error(`Error: ${error instanceof Error ? error.message : error}`);
    return error instanceof InputError ? 2 : 1;
  }
}

// The peer's runtime keeps the process alive.
if (import.meta.main) Deno.exit(await main(Deno.args));
