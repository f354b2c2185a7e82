/** Made-up predictions beside the tables of papers. */
import { assert, assertEquals } from "@std/assert";
import { comparisonOf, comparisonsOf, publishedTables } from "./comparison.ts";
import { type Line, scoredLines, valuesOf } from "./scoring_testing.ts";

const size = { width: 1000, height: 1000 };

/** A phrase of MS-CXR with one box, whose answer holds boxes as text. */
const phrase = (id: string, label: string, answer: string, box: readonly number[]): Line => ({
  id,
  task: "ground-box",
  answer,
  ...size,
  reference: { boxes: [{ label, box }], labels: [label] },
});

const lines = [
  phrase("1", "Edema", "{<10><10><20><20>}", [100, 100, 200, 200]),
  phrase("2", "Edema", "none", [0, 0, 500, 500]),
  // The second box is the right one: the script takes the first.
  phrase(
    "3",
    "pneumonia",
    "<p>here</p> {<50><50><60><60>} <p>there</p> {<0><0><50><50>}",
    [0, 0, 500, 500],
  ),
];

Deno.test("boxes on MS-CXR stand above the rows of PFMVG's tables, as we and as its script count", async () => {
  const scored = await scoredLines(lines);
  const tables = (await comparisonsOf("ms_cxr", scored)).get("ground-box")!;
  assertEquals(tables.length, 2);
  const [overlap, dice] = tables;
  assert(overlap.title.includes("table 1") && dice.title.includes("table 2"));
  assertEquals(overlap.heads.slice(0, 3), ["", "Pneumonia", "Pneumothorax"]);
  assertEquals(overlap.heads.slice(-2), ["mean", "wIoU"]);
  const none = ["-", "-", "-"];
  assertEquals(overlap.rows.slice(0, 3), [
    ["n", "1", "0", "0", "0", "2", "0", "0", "0", "2", "3"],
    ["this evaluation", "1.000", ...none, "0.500", ...none, "0.750", "0.667"],
    ["as PFMVG's script counts", "0.000", ...none, "0.500", ...none, "0.250", "0.333"],
  ]);
  assertEquals(
    dice.rows.find(([name]) => name === "PFMVG (paper)")?.slice(0, 3),
    ["PFMVG (paper)", "0.584", "0.430"],
  );
  assertEquals(overlap.rows.find(([name]) => name === "GPT-4v (paper)")?.slice(-3), [
    "-",
    "0.083",
    "-",
  ]);
});

Deno.test("systems that write no boxes have no row as PFMVG's script counts", async () => {
  const boxes = [{ label: "", box: [0, 0, 500, 500] }];
  const scored = await scoredLines(
    lines.map((line) => ({ ...line, answer: "It is here.", boxes })),
  );
  const { scores } = scored.get("ground-box")!;
  const [table] = await publishedTables("ms_cxr");
  const names = comparisonOf(table, scores).rows.map(([name]) => name);
  assertEquals(names.slice(0, 3), ["n", "this evaluation", "MSLL (paper)"]);
  assert(!Object.keys(valuesOf(scores.metrics)).some((name) => name.endsWith("_pfmvg")));
});

const answer = (id: string, text: string, reference: string, answerType: string): Line => ({
  id,
  task: "vqa",
  answer: text,
  reference: { answer: reference, answerType },
});

Deno.test("answers on VQA-RAD stand above PeFoMed's row, ratings where there are any", async () => {
  const questions = [
    answer("1", "yes", "yes", "closed"),
    answer("2", "no", "yes", "closed"),
    answer("3", "the left lung", "left lung", "open"),
    answer("4", "heart", "right lung", "open"),
    answer("5", "liver", "spleen", "open"),
  ];
  const rated = (extra?: () => Promise<Record<string, number>>) =>
    scoredLines(questions, { extra }).then((scored) => comparisonsOf("vqa_rad", scored));
  const [plain] = (await rated()).get("vqa")!;
  assertEquals(plain.heads, ["", "closed", "open", "overall", "overall, judged"]);
  assertEquals(plain.rows, [
    ["n", "2", "3", "5", "0"],
    ["this evaluation", "0.500", "0.333", "0.400", "-"],
    ["as PeFoMed's script counts", "0.500", "0.333", "0.400", "-"],
    ["PeFoMed (paper)", "-", "-", "-", "0.819"],
  ]);
  const [judged] = (await rated(() => Promise.resolve({ "judge_accuracy": 1 }))).get("vqa")!;
  assertEquals(judged.rows.slice(0, 2).map((row) => row.at(-1)), ["5", "1.000"]);
});

Deno.test("other datasets and tasks have nothing beside them", async () => {
  const scored = await scoredLines(lines);
  for (const dataset of ["vqa_rad", "slake", undefined]) {
    assertEquals((await comparisonsOf(dataset, scored)).get("ground-box"), []);
  }
});
