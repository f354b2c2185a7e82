/**
 * The loss of a run as a picture.
 *
 * @module
 */
import type { LogLine } from "./run.ts";

const width = 720, height = 320;
const margin = { left: 56, right: 12, top: 20, bottom: 36 };

/** Mean of each step with those around it, so that the trend shows. */
function smoothed(values: readonly number[]): number[] {
  const reach = Math.max(1, Math.round(values.length / 50));
  return values.map((_, i) => {
    const near = values.slice(Math.max(0, i - reach), i + reach + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

/** Round numbers from 0 to at least `most`. */
function ticks(most: number): number[] {
  if (!(most > 0)) return [0, 1];
  const rough = most / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough)!;
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => i * step);
}

const text = (value: number) => String(Number(value.toPrecision(3)));

/**
 * An SVG picture: the loss of every step in grey, its running mean in blue. Without steps, an empty frame.
 *
 * @param log Lines of a run; evaluations are not drawn.
 */
export function lossPlot(log: readonly LogLine[]): string {
  const steps = log.flatMap((line) => "loss" in line ? [line] : []);
  const losses = steps.map(({ loss }) => loss);
  const last = Math.max(1, steps.at(-1)?.step ?? 1);
  // A few large first values would flatten everything else.
  const sorted = [...losses].sort((a, b) => a - b);
  const levels = ticks(1.05 * (sorted[Math.floor(0.99 * (sorted.length - 1))] ?? 1));
  const top = levels.at(-1)!;
  const x = (step: number) => margin.left + step / last * (width - margin.left - margin.right);
  const y = (loss: number) =>
    height - margin.bottom -
    Math.min(1, Math.max(0, loss / top)) * (height - margin.top - margin.bottom);
  const path = (values: readonly number[]) =>
    values.map((value, i) => `${x(steps[i]!.step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const grid = levels.map((level) =>
    `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(level).toFixed(1)}" y2="${
      y(level).toFixed(1)
    }" stroke="#ddd"/><text x="${margin.left - 6}" y="${
      (y(level) + 4).toFixed(1)
    }" text-anchor="end">${text(level)}</text>`
  );
  const marks = ticks(last).filter((step) => step <= last).map((step) =>
    `<text x="${x(step).toFixed(1)}" y="${height - 16}" text-anchor="middle">${text(step)}</text>`
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...grid,
    ...marks,
    `<text x="${width / 2}" y="${height - 2}" text-anchor="middle">step</text>`,
    `<text x="${margin.left}" y="13">loss</text>`,
    `<polyline fill="none" stroke="#bbb" points="${path(losses)}"/>`,
    `<polyline fill="none" stroke="#1f6fb4" stroke-width="2" points="${path(smoothed(losses))}"/>`,
    "</svg>\n",
  ].join("\n");
}
