// Types of the part of @std/cli that this project uses, for the npm stand-in, which ships none.
export interface ParseOptions {
  boolean?: readonly string[];
  string?: readonly string[];
  collect?: readonly string[];
  negatable?: readonly string[];
  default?: Record<string, unknown>;
  alias?: Record<string, string | readonly string[]>;
  "--"?: boolean;
  stopEarly?: boolean;
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}
// deno-lint-ignore no-explicit-any -- as loose as the library's own type for names that are not literals
type Parsed = { _: (string | number)[]; [key: string]: any };
export function parseArgs(
  args: string[],
  options?: ParseOptions,
): Parsed;
