/**
 * Command-line flags from one table per command: parsing, checking and the help text.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { InputError } from "@medvlm/core";
import { nearest } from "./nearest.ts";

/** One flag. */
export type Flag =
  & {
    /** One line for the help text. */
    readonly about: string;
  }
  & (
    | { readonly kind: "switch" }
    | { readonly kind: "text"; readonly value: string; readonly default?: string }
    | { readonly kind: "list"; readonly value: string }
    | {
      readonly kind: "number" | "whole";
      readonly value: string;
      readonly min: number;
      readonly max: number;
      /** The smallest value itself is not allowed. */
      readonly aboveMin?: boolean;
      readonly default?: number;
    }
    | { readonly kind: "choice"; readonly choices: readonly string[]; readonly default?: string }
  );

/** The flags of a command by name, without dashes. */
export type FlagTable = Readonly<Record<string, Flag>>;

/** A command: its flags and what its help says. */
export interface Command<T extends FlagTable = FlagTable> {
  /** As typed, such as `run`. */
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  readonly flags: T;
  /** Name of the positional arguments, where the command takes any. */
  readonly positional?: string;
}

type Plain<F extends Flag> = F extends { kind: "switch" } ? boolean
  : F extends { kind: "list" } ? string[]
  : F extends { kind: "number" | "whole" } ? number
  : F extends { choices: readonly (infer C)[] } ? C
  : string;

/** The parsed value of every flag of a table. */
export type FlagValues<T extends FlagTable> = {
  [K in keyof T]: T[K] extends { kind: "switch" | "list" } | { default: unknown } ? Plain<T[K]>
    : Plain<T[K]> | undefined;
};

/** Flags that every command has. */
const common = { help: { kind: "switch", about: "print this text" } } as const satisfies FlagTable;

/** What a command line says. */
export interface Parsed<T extends FlagTable> {
  readonly values: FlagValues<T>;
  readonly positional: readonly string[];
  /** `--help` was given; nothing else was checked. */
  readonly help: boolean;
}

function usageError(message: string): InputError {
  return new InputError("USAGE", message);
}

/** A value for messages, short and on one line. */
function shown(value: string): string {
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
}

/** Joins `--flag value` to `--flag=value`, so that empty values and values with a leading dash stay values. */
function joinValues(command: Command, args: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === "--") return [...out, ...args.slice(i)];
    const flag = arg.startsWith("--") ? command.flags[arg.slice(2)] : undefined;
    if (flag === undefined || flag.kind === "switch") {
      out.push(arg);
      continue;
    }
    const value = args[++i];
    if (value === undefined || value.startsWith("--")) {
      throw usageError(
        `Cannot use ${arg}: it needs a value; write ${arg} ${valueName(flag)}`,
      );
    }
    out.push(`${arg}=${value}`);
  }
  return out;
}

function valueName(flag: Flag): string {
  return flag.kind === "switch" ? "" : flag.kind === "choice" ? flag.choices.join("|") : flag.value;
}

function unknownFlag(command: Command, given: string): InputError {
  const known = [...Object.keys(command.flags), ...Object.keys(common)];
  return usageError(
    `Cannot use ${shown(given).slice(1, -1)}: ${command.name} has no such flag; did you mean --${
      nearest(given.replace(/^-+/, "").replace(/=.*/s, ""), known)
    } (see ${command.name} --help)`,
  );
}

/** Checks one value against its flag. */
function convert(name: string, flag: Flag, text: string): string | number {
  switch (flag.kind) {
    case "choice":
      if (flag.choices.includes(text)) return text;
      throw usageError(
        `Cannot use --${name} ${shown(text)}: it is one of ${
          flag.choices.join(", ")
        }; did you mean ${nearest(text, flag.choices)}`,
      );
    case "number":
    case "whole": {
      const value = text.trim() === "" ? NaN : Number(text);
      const fits = Number.isFinite(value) &&
        (flag.aboveMin ? value > flag.min : value >= flag.min) &&
        value <= flag.max && (flag.kind === "number" || Number.isSafeInteger(value));
      if (fits) return value;
      throw usageError(
        `Cannot use --${name} ${shown(text)}: it is a ${
          flag.kind === "whole" ? "whole number" : "number"
        } ${rangeText(flag)}`,
      );
    }
    default:
      return text;
  }
}

function rangeText(flag: { min: number; max: number; aboveMin?: boolean }): string {
  return flag.aboveMin
    ? `above ${flag.min} and at most ${flag.max}`
    : `from ${flag.min} to ${flag.max}`;
}

/**
 * Parses the arguments of a command.
 *
 * @throws {InputError} code `USAGE`, one sentence: an unknown flag (with the nearest known one), a flag without value,
 * twice or with a value outside its range, a positional argument where none is taken.
 */
export function parseFlags<T extends FlagTable>(
  command: Command<T>,
  args: readonly string[],
): Parsed<T> {
  const end = args.indexOf("--");
  const before = end < 0 ? args : args.slice(0, end);
  const help = before.includes("--help") || before.includes("-h");
  const names = Object.keys(command.flags);
  const switches = names.filter((name) => command.flags[name].kind === "switch");
  const texts = names.filter((name) => command.flags[name].kind !== "switch");
  if (help) return { values: {} as FlagValues<T>, positional: [], help };

  const joined = joinValues(command, args);
  for (const name of switches) {
    const given = joined.filter((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`));
    if (given.length > 1) {
      throw usageError(`Cannot use --${name} ${given.length} times: give it once`);
    }
    if (given[0]?.includes("=")) {
      throw usageError(`Cannot use ${shown(given[0]).slice(1, -1)}: --${name} takes no value`);
    }
  }
  const parsed = parseArgs(joined, {
    boolean: switches,
    string: ["_", ...texts],
    collect: texts,
    unknown: (arg, key) => {
      if (key !== undefined && arg.startsWith("-")) throw unknownFlag(command, arg);
    },
  });
  const positional = parsed._.map(String);
  if (positional.length > 0 && command.positional === undefined) {
    throw usageError(
      `Cannot use ${
        shown(positional[0])
      }: ${command.name} takes flags only (see ${command.name} --help)`,
    );
  }
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(command.flags)) {
    if (flag.kind === "switch") {
      values[name] = parsed[name] === true;
      continue;
    }
    const given = (parsed[name] ?? []) as string[];
    if (flag.kind === "list") {
      values[name] = given;
      continue;
    }
    if (given.length > 1) {
      throw usageError(`Cannot use --${name} ${given.length} times: give it once`);
    }
    values[name] = given.length === 0 ? flag.default : convert(name, flag, given[0]);
  }
  return { values: values as FlagValues<T>, positional, help: false };
}

/** The help text of a command, made from its table. */
export function helpText(command: Command): string {
  const rows = Object.entries({ ...command.flags, ...common } as FlagTable).map(([name, flag]) => {
    const notes = [
      flag.kind === "list" ? "may be given several times" : "",
      flag.kind === "number" || flag.kind === "whole" ? rangeText(flag) : "",
      "default" in flag && flag.default !== undefined ? `default ${flag.default}` : "",
    ].filter((note) => note !== "").join("; ");
    return [
      `  --${name} ${valueName(flag)}`.trimEnd(),
      notes === "" ? flag.about : `${flag.about} (${notes})`,
    ] as const;
  });
  const width = Math.min(36, Math.max(...rows.map(([left]) => left.length)));
  const lines = rows.map(([left, right]) =>
    left.length > width
      ? `${left}\n${" ".repeat(width + 2)}${right}`
      : `${left.padEnd(width + 2)}${right}`
  );
  const usage = `deno task ${command.name}${
    command.positional ? ` [${command.positional}]` : ""
  } [flags]`;
  return `${command.about}\n\nUsage: ${usage}\n\n${lines.join("\n")}\n`;
}
