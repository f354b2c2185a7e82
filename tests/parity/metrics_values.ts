/**
 * What the comparisons of metrics share: numbers as the reference files write them.
 *
 * @module
 */
import type { Report, Tolerance } from "./harness.ts";

/** A number as JSON holds it: `NaN` and the infinities are strings. */
export type JsonNumber = number | "NaN" | "Infinity" | "-Infinity";

/** The number meant. */
export const numberOf = (value: JsonNumber): number => Number(value);

/** Whether a reference implementation fails on the input. */
export function isError(value: unknown): value is { error: string } {
  return typeof value === "object" && value !== null && "error" in value;
}

/** A reference file: a list of cases per group, with its tolerance. */
export interface MetricFile {
  readonly dir: string;
  readonly stem: string;
  // deno-lint-ignore no-explicit-any
  readonly json: any;
  readonly tolerance: Tolerance;
}

/** Compares the cases of one group of a file. */
// deno-lint-ignore no-explicit-any
export type CompareGroup = (cases: any[], report: Report, file: MetricFile) => Promise<void> | void;

/** Compares every number of a flat object under the reference's names. */
export function compareNumbers(
  report: Report,
  name: string,
  actual: Readonly<Record<string, number>>,
  expected: Readonly<Record<string, JsonNumber>>,
  tolerance: Tolerance,
): void {
  const names = Object.keys(expected);
  report.close(
    `${name} ${names.join(" ")}`,
    names.map((one) => actual[one]),
    names.map((one) => numberOf(expected[one])),
    tolerance,
  );
}
