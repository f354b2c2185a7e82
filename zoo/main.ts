/**
 * The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or unreadable input. An error is one sentence on
 * standard error; its stack is printed only with `--debug`.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import { doctor, doctorCommand } from "./doctor.ts";
import { evalCommand, evalFromFlags } from "./eval_command.ts";
import { type Command, helpText, parseFlags } from "./flags.ts";
import { nearest } from "./nearest.ts";
import { phantomsCommand, writePhantoms } from "./phantoms_command.ts";
import { recipeCommand, trainRecipe } from "./recipe_command.ts";
import { runCommand, runFromFlags } from "./run_command.ts";
import { processTerminal as terminal } from "./terminal.ts";
import { trainCommand, trainFromFlags } from "./train_command.ts";

/** Commands that are planned, and what there is instead. */
const planned: Readonly<Record<string, string>> = {
  zoo:
    "available now: zoo phantoms, zoo train; the checkpoint catalogue is not available yet, fetch a checkpoint yourself and give its folder to run --checkpoint",
};

const elsewhere: Readonly<Record<string, string>> = {
  bench: "measures speed",
  parity: "compares with the reference numbers",
  test: "runs the tests",
  check: "format, lint, types, docs, publish dry run",
};

function overview(): string {
  const rows = [
    [runCommand.name, runCommand.about],
    [evalCommand.name, evalCommand.about],
    [trainCommand.name, trainCommand.about],
    [doctorCommand.name, doctorCommand.about],
    [
      "zoo",
      "zoo phantoms: draws phantoms and writes them as a dataset; zoo train: trains a small checkpoint",
    ],
    ...Object.entries(elsewhere),
    ...Object.keys(planned).filter((name) => name !== "zoo").map((name) => [
      name,
      "not available yet",
    ]),
  ];
  const lines = rows.map(([name, about]) => `  ${name.padEnd(8)}${about}`);
  return `Grounded medical vision-language models on WebGPU.\n\nUsage: deno task COMMAND [flags]\n\n${
    lines.join("\n")
  }\n\nEvery command explains itself with --help.\n`;
}

async function withFlags(
  command: Command,
  args: readonly string[],
  // deno-lint-ignore no-explicit-any -- the table and its values are paired by the caller
  body: (values: any) => Promise<void>,
): Promise<void> {
  const { values, help } = parseFlags(command, args);
  if (help) terminal.out(helpText(command));
  else await body(values);
}

async function dispatch(args: readonly string[], signal: AbortSignal): Promise<void> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    terminal.out(overview());
    if (name === undefined) throw new InputError("USAGE", "Cannot start: no command was given");
    return;
  }
  if (name === runCommand.name) {
    return await withFlags(runCommand, rest, (flags) => runFromFlags(flags, terminal, signal));
  }
  if (name === evalCommand.name) {
    return await withFlags(evalCommand, rest, (flags) => evalFromFlags(flags, terminal, signal));
  }
  if (name === trainCommand.name) {
    return await withFlags(trainCommand, rest, (flags) => trainFromFlags(flags, terminal, signal));
  }
  if (name === doctorCommand.name) {
    return await withFlags(doctorCommand, rest, ({ json }) => doctor(json, terminal));
  }
  if (name === "zoo" && rest[0] === "phantoms") {
    return await withFlags(
      phantomsCommand,
      rest.slice(1),
      (flags) => writePhantoms(flags, terminal, signal),
    );
  }
  if (name === "zoo" && rest[0] === "train") {
    const { values, positional, help } = parseFlags(recipeCommand, rest.slice(1));
    if (help) return terminal.out(helpText(recipeCommand));
    return await trainRecipe(positional, values, terminal, signal);
  }
  if (Object.hasOwn(planned, name)) {
    if (rest.includes("--help")) return terminal.out(`${name}: ${planned[name]}\n`);
    throw new InputError(
      "NOT_AVAILABLE",
      `Cannot ${name === "zoo" ? "use zoo" : name}: ${planned[name]}`,
    );
  }
  if (Object.hasOwn(elsewhere, name)) {
    throw new InputError("USAGE", `Cannot start ${name} here: use deno task ${name}`);
  }
  const known = [
    runCommand.name,
    evalCommand.name,
    trainCommand.name,
    doctorCommand.name,
    ...Object.keys(elsewhere),
    ...Object.keys(planned),
  ];
  throw new InputError(
    "USAGE",
    `Cannot find the command ${JSON.stringify(name.slice(0, 60))}: did you mean ${
      nearest(name, known)
    }`,
  );
}

/** Aborts at the first Ctrl-C; a later one, a second or more after it, ends the process at once. */
function stopOnInterrupt(): AbortSignal {
  const abort = new AbortController();
  let first: number | undefined;
  const stop = () => {
    // A launcher passes on what the terminal has sent to the whole group already, so one key press may arrive twice.
    if (first !== undefined && performance.now() - first > 1000) Deno.exit(1);
    first ??= performance.now();
    abort.abort();
  };
  Deno.addSignalListener("SIGINT", stop);
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", stop);
  return abort.signal;
}

/** Prints the error as one sentence and returns the exit code. */
function report(error: unknown, debug: boolean): number {
  const message = error instanceof Error ? error.message : String(error);
  terminal.note(`Error: ${message.replace(/\s*\n\s*/g, "; ")}\n`);
  if (debug && error instanceof Error) terminal.note(`${error.stack ?? ""}\n`);
  return error instanceof InputError ? 2 : 1;
}

if (import.meta.main) {
  let code = 0;
  try {
    await dispatch(Deno.args, stopOnInterrupt());
  } catch (error) {
    code = report(error, Deno.args.includes("--debug"));
  }
  Deno.exit(code);
}
