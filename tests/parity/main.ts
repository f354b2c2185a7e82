/**
 * `deno task parity`: compares with every reference case found, and says how far off each one is.
 *
 * @module
 */
import { InputError, openDevice } from "@medvlm/core";
import type { Device } from "@medvlm/core/device";
import { type Command, helpText, parseFlags } from "../../zoo/flags.ts";
import { processTerminal as terminal } from "../../zoo/terminal.ts";
import { findCases, type Found } from "./find.ts";
import { type Comparison, type FoundCase, Report } from "./harness.ts";

const command = {
  name: "parity",
  about:
    "Compares with every reference case found below the folders, tests/golden when none is given.",
  positional: "DIR...",
  flags: {
    device: {
      kind: "choice",
      choices: ["auto", "webgpu", "wasm"],
      default: "auto",
      about: "where to compute",
    },
    json: { kind: "switch", about: "print one JSON document and nothing else" },
    strict: { kind: "switch", about: "kinds that are not supported yet count as failed" },
    verbose: { kind: "switch", about: "a line for every compared tensor" },
    debug: { kind: "switch", about: "stack traces with errors" },
  },
} as const satisfies Command;

/** What came of one case. */
interface Verdict {
  readonly name: string;
  readonly path: string;
  readonly ok: boolean;
  readonly milliseconds: number;
  readonly comparisons: readonly Comparison[];
  /** Message of the error that ended the case. */
  readonly error?: string;
}

async function runCase(
  { name, run }: FoundCase,
  path: string,
  debug: boolean,
): Promise<Verdict> {
  const report = new Report();
  const start = performance.now();
  let error: string | undefined;
  try {
    await run(report);
    if (report.comparisons.length === 0) error = "nothing was compared";
  } catch (thrown) {
    error = thrown instanceof Error
      ? (debug ? thrown.stack ?? thrown.message : thrown.message)
      : String(thrown);
  }
  return {
    name,
    path,
    ok: error === undefined && report.ok,
    milliseconds: performance.now() - start,
    comparisons: report.comparisons,
    ...(error === undefined ? {} : { error }),
  };
}

function largest(
  comparisons: readonly Comparison[],
  of: (one: Comparison) => number,
): Comparison | undefined {
  return comparisons.reduce<Comparison | undefined>(
    (best, one) => best === undefined || of(one) > of(best) ? one : best,
    undefined,
  );
}

const short = (value: number) => value === 0 ? "0" : value.toExponential(2);

function comparisonLine(one: Comparison): string {
  const verdict = one.ok ? "ok    " : "FAILED";
  return `  ${verdict} ${one.name}: abs ${short(one.maxAbs)} rel ${
    short(one.maxRel)
  } (${one.rule})${one.detail === undefined ? "" : ` ${one.detail}`}`;
}

function caseText(verdict: Verdict, verbose: boolean): string {
  const { comparisons, ok, name, error } = verdict;
  const abs = largest(comparisons, (one) => one.maxAbs),
    rel = largest(comparisons, (one) => one.maxRel);
  const failed = comparisons.filter((one) => !one.ok);
  const rule = (failed[0] ?? abs)?.rule ?? "-";
  const where = (one: Comparison | undefined, value: number | undefined) =>
    one === undefined || value === 0 ? "0" : `${short(value!)} at ${one.name}`;
  const head = `${ok ? "ok    " : "FAILED"} ${name}: abs ${where(abs, abs?.maxAbs)}, rel ${
    where(rel, rel?.maxRel)
  }, ${rule} (${comparisons.length} compared, ${verdict.milliseconds.toFixed(0)} ms)`;
  const lines = verbose ? comparisons : failed.slice(0, 8);
  return [
    head,
    ...lines.map(comparisonLine),
    !verbose && failed.length > lines.length ? `  and ${failed.length - lines.length} more` : "",
    error === undefined ? "" : `  ${error}`,
  ].filter((line) => line !== "").join("\n") + "\n";
}

async function main(args: readonly string[]): Promise<number> {
  const { values: flags, positional, help } = parseFlags(command, args);
  if (help) {
    terminal.out(helpText(command));
    return 0;
  }
  let opened: Device | undefined;
  const deviceOf = async () => opened ??= await openDevice({ device: flags.device });
  const fallback = decodeURIComponent(new URL("../golden", import.meta.url).pathname);
  try {
    const found = new Map<string, Found>();
    for (const dir of positional.length > 0 ? positional : [fallback]) {
      // Folders given twice, or one inside another, are run once.
      for (const one of await findCases(dir, deviceOf)) {
        const inside = "cases" in one ? one.cases.map(({ name }) => name).join() : "";
        found.set(`${one.path}\0${inside}`, one);
      }
    }
    const verdicts: Verdict[] = [];
    const say = flags.json ? () => {} : terminal.out;
    for (const one of found.values()) {
      if ("unsupported" in one) continue;
      for (const single of one.cases) {
        const verdict = await runCase(single, one.path, flags.debug);
        verdicts.push(verdict);
        say(caseText(verdict, flags.verbose));
      }
    }
    const unsupported = [...found.values()].filter((one) => "unsupported" in one)
      .map(({ kind, path }) => ({ kind, path }));
    const passed = verdicts.filter(({ ok }) => ok).length;
    const failed = verdicts.length - passed + (flags.strict ? unsupported.length : 0);
    if (unsupported.length > 0) {
      say(
        `Not supported yet${flags.strict ? " (counted as failed)" : ""}: ${
          unsupported.map(({ kind }) => kind).join(", ")
        }\n`,
      );
    }
    if (opened !== undefined) say(`Device: ${opened.info.name} (${opened.kind})\n`);
    say(`${passed} passed, ${failed} failed\n`);
    if (flags.json) {
      const device = opened === undefined ? null : { backend: opened.kind, name: opened.info.name };
      // JSON has no infinity: what cannot be measured (a wrong length, a wrong text) is null.
      terminal.out(
        JSON.stringify({ device, cases: verdicts, unsupported, passed, failed }, null, 2) + "\n",
      );
    }
    return failed > 0 ? 1 : 0;
  } finally {
    await opened?.[Symbol.asyncDispose]();
  }
}

if (import.meta.main) {
  let code: number;
  try {
    code = await main(Deno.args);
  } catch (error) {
    terminal.note(`Error: ${error instanceof Error ? error.message : error}\n`);
    if (Deno.args.includes("--debug") && error instanceof Error) terminal.note(`${error.stack}\n`);
    code = error instanceof InputError ? 2 : 1;
  }
  Deno.exit(code);
}
