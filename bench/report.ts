/**
 * Results as a table and as JSON.
 *
 * @module
 */
import type { Failed, KernelResult, Measured } from "./kernels.ts";
import type { Machine } from "./machine.ts";

/** Three significant digits, no exponent. */
function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value >= 100) return value.toFixed(0);
  return value.toPrecision(3);
}

const time = (item: Measured | Failed) =>
  "failure" in item ? "–" : `${short(item.median)} / ${short(item.best)}`;
const times = (factor: number) => Number.isFinite(factor) ? `${short(factor)}x` : "–";

const columns: readonly (readonly [string, (row: KernelResult) => string])[] = [
  ["kernel", ({ name }) => name],
  ["ours ms", ({ ours }) => time(ours)],
  ["rate", ({ ours, unit }) => `${short(ours.rate)} ${unit}`],
  ["ort webgpu ms", ({ webgpu }) => time(webgpu)],
  ["ours is", ({ ratios }) => times(ratios.webgpu.median)],
  ["ort wasm ms", ({ wasm }) => time(wasm)],
  ["ours is", ({ ratios }) => times(ratios.wasm.median)],
  ["error", ({ ours }) => ours.error.toExponential(0)],
];

/** A result in one line, for progress. */
export function resultLine({ name, ours, unit, ratios }: KernelResult): string {
  return `${name}: ${short(ours.median)} ms, ${short(ours.rate)} ${unit}; ` +
    `${times(ratios.webgpu.median)} ort webgpu, ${times(ratios.wasm.median)} ort wasm`;
}

/** The heading of the table and one line per result, aligned, with what the peers ran and why some could not. */
export function resultTable(results: readonly KernelResult[]): string {
  const lines = [
    columns.map(([heading]) => heading),
    ...results.map((row) => columns.map(([, cell]) => cell(row))),
  ];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]!.length)));
  const text = lines.map((line) =>
    line.map((cell, index) =>
      index === 0 ? cell.padEnd(widths[index]!) : cell.padStart(widths[index]!)
    ).join("  ")
  );
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [text[0], rule, ...text.slice(1), "", ...peerNotes(results)].join("\n");
}

function peerNotes(results: readonly KernelResult[]): string[] {
  return [
    'Times are median / best per run; "ours is" = how many times as fast (median over the rounds); error is relative to double precision.',
    ...results.map(({ name, webgpu, wasm }) => {
      const text = (item: Measured | Failed) =>
        "failure" in item
          ? `did not run (${item.failure.split("\n")[0]})`
          : `${item.note} (error ${item.error.toExponential(0)})`;
      return `${name}: webgpu ${text(webgpu)}; wasm ${text(wasm)}`;
    }),
  ];
}

/** Results in Markdown, for documents. */
export function resultMarkdown(results: readonly KernelResult[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(columns.map(([heading]) => heading)),
    line(columns.map((_, index) => index === 0 ? "---" : "---:")),
    ...results.map((row) => line(columns.map(([, cell]) => cell(row)))),
  ].join("\n");
}

/** Everything, for files and other programs; numbers have five significant digits. */
export function resultJson(machine: Machine, date: Date, results: readonly KernelResult[]): string {
  const report = { benchmark: "kernels", date: date.toISOString(), machine, results };
  const rounded = (_: string, value: unknown) =>
    typeof value === "number" && Number.isFinite(value) ? Number(value.toPrecision(5)) : value;
  return JSON.stringify(report, rounded, 2);
}
