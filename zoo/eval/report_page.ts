/**
 * The page of an evaluation: conditions, tables, and the worst and best cases as pictures, in one file.
 *
 * @module
 */
import { notice, untrainedNotice } from "../run_output.ts";
import { type Comparison, comparisonNote } from "./comparison.ts";
import { counted, type Evaluation, leftOutLines } from "./evaluation.ts";
import type { Breakdown, Estimate, Estimates } from "./estimates.ts";
import { metricText, variantOf } from "./metric_texts.ts";
import { pageStyle } from "./page_style.ts";
import type { Case, Cases, ScoredTask } from "./score.ts";

/** Longest text of a case. */
const maxText = 3000;

/** Text as HTML. */
function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)
    // Other control characters are not allowed in HTML.
    .replace(/(?![\n\t])\p{Cc}/gu, "\ufffd");
}

const shortened = (text: string) => text.length > maxText ? `${text.slice(0, maxText)}…` : text;

/** A number with three decimals. */
const digits = (value: number) => value.toFixed(3);

function numberCell(one: Estimate | undefined): string {
  if (one === undefined) return `<td class="number dim">-</td>`;
  const { value, low, high } = one;
  return `<td class="number">${digits(value)} <small>${digits(low)} to ${
    digits(high)
  }</small></td>`;
}

function metricsTable(metrics: Estimates, level: number): string {
  const rows = Object.entries(metrics).map(([name, one]) =>
    `<tr><td>${escaped(name)}</td>${
      numberCell(one)
    }<td class="number">${one.n}</td><td class="dim">${escaped(metricText(name))}</td></tr>`
  );
  return `<div class="scroll"><table><thead><tr><th>metric</th><th class="number">value <small>${
    Math.round(100 * level)
  } %</small></th><th class="number">n</th><th></th></tr></thead><tbody>${
    rows.join("\n")
  }</tbody></table></div>`;
}

function split(metrics: Estimates): { standard: Estimates; variants: Estimates } {
  const { standard = [], variants = [] } = Object.groupBy(
    Object.entries(metrics),
    ([name]) => variantOf(name) === undefined ? "standard" : "variants",
  );
  return { standard: Object.fromEntries(standard), variants: Object.fromEntries(variants) };
}

const breakdownTitles: Readonly<Record<Breakdown, string>> = {
  class: "Per class",
  category: "Per category",
  modality: "Per modality",
};

function groupTable(title: string, groups: Readonly<Record<string, Estimates>>): string {
  const names = [...new Set(Object.values(groups).flatMap((one) => Object.keys(one)))]
    .filter((name) => variantOf(name) === undefined);
  const rows = Object.entries(groups).map(([group, metrics]) => {
    const largest = Math.max(0, ...Object.values(metrics).map(({ n }) => n));
    return `<tr><td>${escaped(group)}</td><td class="number">${largest}</td>${
      names.map((name) => numberCell(metrics[name])).join("")
    }</tr>`;
  });
  const heads = names.map((name) =>
    `<th class="number" title="${escaped(metricText(name))}">${escaped(name)}</th>`
  );
  return `<h3>${title}</h3><div class="scroll"><table><thead><tr><th></th><th class="number">n</th>${
    heads.join("")
  }</tr></thead><tbody>${rows.join("\n")}</tbody></table></div>`;
}

function comparisonTable({ title, heads, rows }: Comparison): string {
  const line = (cells: readonly string[], tag: "td" | "th") =>
    `<tr>${
      cells.map((one, index) =>
        `<${tag}${index === 0 ? "" : ' class="number"'}>${escaped(one)}</${tag}>`
      ).join("")
    }</tr>`;
  return `<h3>${escaped(title)}</h3><div class="scroll"><table><thead>${
    line(heads, "th")
  }</thead><tbody>${rows.map((row) => line(row, "td")).join("\n")}</tbody></table></div>`;
}

function comparisonSection(comparisons: readonly Comparison[]): string {
  if (comparisons.length === 0) return "";
  return `${comparisons.map(comparisonTable).join("")}<p class="dim">${comparisonNote}</p>`;
}

/** Places that are wanted and given, in words. */
function placeCounts({ prediction: { boxes, masks, reference } }: Case): string {
  const count = (n: number, one: string, many: string) =>
    n === 0 ? [] : [`${n} ${n === 1 ? one : many}`];
  const text = (b: number, m: number) =>
    [...count(b, "box", "boxes"), ...count(m, "mask", "masks")].join(", ") || "none";
  return `${text(reference.boxes.length, reference.masks.length)} wanted, ${
    text(boxes.length, masks.length)
  } given`;
}

function caseFigure(one: Case, picture: string | undefined): string {
  const { prediction, rank } = one;
  const { reference, task, finish } = prediction;
  const wanted = [reference.answer, ...reference.alternatives ?? []].filter((text) => text).join(
    " | ",
  );
  const entries: [string, string][] = [
    ["Question", prediction.prompt ?? ""],
    ["Expected", wanted],
    ["Choices", (reference.choices ?? []).join(" | ")],
    ["Answer", prediction.answer === "" ? "(no text)" : prediction.answer],
    ["Labels expected", (reference.labels ?? []).join(", ")],
    ["Labels given", (prediction.labels ?? []).join(", ")],
    ["Places", task.startsWith("ground") ? placeCounts(one) : ""],
    ["Ended", finish === "length" ? "cut at the token limit" : ""],
  ];
  const list = entries.filter(([, text]) => text !== "").map(([name, text]) =>
    `<dt>${name}</dt><dd>${escaped(shortened(text))}</dd>`
  );
  const image = picture === undefined
    ? `<div class="none">no picture</div>`
    : `<img alt="${escaped(prediction.image ?? prediction.id)}" src="${picture}">`;
  return `<figure>${image}<figcaption><strong>${digits(rank)}</strong> <span class="dim">${
    escaped([prediction.split, prediction.id].filter((text) => text).join("/"))
  }</span><dl>${list.join("")}</dl></figcaption></figure>`;
}

/** What the colours mean, where there are any. */
function legend({ worst, best }: Cases): string {
  const shown = [...worst, ...best].map(({ prediction }) => prediction);
  const hasPlaces = shown.some(({ boxes, masks, reference }) =>
    [boxes, masks, reference.boxes, reference.masks].some((list) => list.length > 0)
  );
  const entries = [
    ...(hasPlaces ? [["truth", "expected"], ["answer", "answer"]] : []),
    ...(shown.some(({ regions }) => regions) ? [["region", "pointed at in the question"]] : []),
  ];
  if (entries.length === 0) return "";
  const keys = entries.map(([name, text]) => `<span class="${name}"></span> ${text}`);
  return `<p class="dim">${keys.join(" &#160; ")}</p>`;
}

/** What cases are ranked by. */
function rankText(task: string): string {
  if (task === "report" || task === "caption") return "ROUGE-L";
  if (task === "classify") return "F1 of the labels";
  if (task.startsWith("ground")) return "mean Dice of masks or IoU of boxes";
  return "right or wrong; for open questions F1 of the words";
}

/** Gives the picture of a case as an address, `data:` for instance. */
export type PictureOf = (one: Case) => Promise<string | undefined>;

async function caseSection(
  title: string,
  task: string,
  cases: readonly Case[],
  pictureOf: PictureOf,
): Promise<string> {
  if (cases.length === 0) return "";
  const figures: string[] = [];
  for (const one of cases) figures.push(caseFigure(one, await pictureOf(one)));
  return `<h3>${title} <small class="dim">by ${rankText(task)}</small></h3><div class="cases">${
    figures.join("\n")
  }</div>`;
}

async function taskSection(
  task: string,
  { scores, cases }: ScoredTask,
  comparisons: readonly Comparison[],
  level: number,
  pictureOf: PictureOf,
): Promise<string> {
  const { standard, variants } = split(scores.metrics);
  const without = scores.withoutReference === 0
    ? ""
    : `, ${scores.withoutReference} without a reference`;
  const { class: classes = {} } = scores.groups;
  const groups = Object.entries(scores.groups).filter(([kind, groups]) =>
    // Some datasets call their classes categories.
    kind === "class" || Object.keys(groups).join("\n") !== Object.keys(classes).join("\n")
  ).map(([kind, groups]) => groupTable(breakdownTitles[kind as Breakdown], groups));
  const published = Object.keys(variants).length === 0
    ? ""
    : `<details><summary>As the published scripts compute them</summary>${
      metricsTable(variants, level)
    }</details>`;
  const worst = await caseSection("Worst cases", task, cases.worst, pictureOf);
  const best = await caseSection("Best cases", task, cases.best, pictureOf);
  return `<section><h2>${escaped(task)}</h2><p class="dim">${
    counted(scores.n, "prediction")
  } scored${without}</p>${metricsTable(standard, level)}${published}${
    comparisonSection(comparisons)
  }${groups.join("")}${legend(cases)}${worst}${best}</section>`;
}

function conditionsTable({ conditions, bootstrap }: Evaluation): string {
  const rows = Object.entries(conditions).filter(([, value]) => value !== null).map((
    [name, value],
  ) => `<tr><td>${escaped(name)}</td><td>${escaped(String(value))}</td></tr>`);
  return `<table><tbody>${rows.join("\n")}<tr><td>intervals</td><td>${
    Math.round(100 * bootstrap.level)
  } %, ${bootstrap.resamples} bootstrap resamples of whole examples, seed ${bootstrap.seed}</td></tr></tbody></table>`;
}

function countsSection({ predictions, leftOut, problems }: Evaluation): string {
  const lines = [
    counted(predictions, "prediction"),
    ...leftOutLines(leftOut).map((line) => `${line}: left out`),
  ];
  const list = problems.map(({ file, line, message }) =>
    `<tr><td>${escaped(file)}${line === undefined ? "" : `:${line}`}</td><td>${
      escaped(message)
    }</td></tr>`
  );
  const table = list.length === 0
    ? ""
    : `<details><summary>What was left out, the first ${list.length}</summary><div class="scroll"><table><tbody>${
      list.join("\n")
    }</tbody></table></div></details>`;
  return `<p>${lines.join("<br>")}</p>${table}`;
}

/**
 * The page, complete in itself.
 *
 * @param pictureOf Gives the picture of a case as an address.
 */
export async function reportPage(
  title: string,
  evaluation: Evaluation,
  pictureOf: PictureOf,
): Promise<string> {
  const { tasks, comparisons, bootstrap: { level }, untrained } = evaluation;
  const sections: string[] = [];
  for (const [task, scored] of tasks) {
    const beside = comparisons.get(task) ?? [];
    sections.push(await taskSection(task, scored, beside, level, pictureOf));
  }
  const noise = untrained ? `<p class="notice">${escaped(untrainedNotice)}</p>` : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p class="notice">${escaped(notice)}</p>${noise}
<h2>Conditions</h2>
${conditionsTable(evaluation)}
${countsSection(evaluation)}
${sections.join("\n")}
</body>
</html>
`;
}
