/** What others measured: CheXbert, RadGraph, judges. */
import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { InputError } from "@medvlm/core";
import { chexpertLabels } from "@medvlm/core/eval";
import { openRater } from "./judge_ratings.ts";
import { readChexbert, readRadgraph, reportColumn } from "./label_files.ts";
import type { Prediction } from "./prediction.ts";
import { scoresOf, valuesOf } from "./scoring_testing.ts";

async function withFile<T>(content: string, body: (path: string) => Promise<T>): Promise<T> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, content);
    return await body(path);
  } finally {
    await Deno.remove(path);
  }
}

/** A row of CheXbert's table: the text, and the conditions that are not blank. */
function row(text: string, found: Record<string, number | string>): string {
  return [`"${text}"`, ...chexpertLabels.map((name) => found[name] ?? "")].join(",") + "\n";
}

const head = [reportColumn, ...chexpertLabels].join(",") + "\n";
const reports = [
  { id: "1", task: "report", answer: "Edema. No effusion.", reference: "Edema and effusion." },
  { id: "2", task: "report", answer: "Fracture.", reference: "Fracture." },
  { id: "3", task: "report", answer: "not labelled", reference: "Fracture." },
];

Deno.test("CheXbert's table: labels by text, uncertain counts as positive", async () => {
  const table = head +
    row("Edema. No effusion.", { Edema: "1.0", "Pleural Effusion": "0.0" }) +
    row("Edema and  effusion.", { Edema: "-1.0", "Pleural Effusion": "1.0" }) +
    row("Fracture.", { Fracture: 1 });
  await withFile(table, async (path) => {
    const chexbert = await readChexbert(path);
    assertEquals(chexbert("Edema.No effusion.")?.slice(4, 10), [1, 0, 0, 0, 0, 2]);
    const { metrics, groups } = await scoresOf(reports, { labels: { chexbert } });
    const values = valuesOf(metrics);
    // Two reports have labels: edema and fracture right, an effusion missed.
    assertEquals(metrics.chexbert_f1_micro.n, 2);
    assertAlmostEquals(values.chexbert_f1_micro, 2 * 2 / (2 * 2 + 1), 1e-12);
    assertAlmostEquals(values.chexbert_f1_macro, 2 / 14, 1e-12);
    assertAlmostEquals(values.chexbert_fnr_micro, 1 / 3, 1e-12);
    // Of 28 - 2 predicted negatives one is wrong.
    assertAlmostEquals(values.chexbert_fnr_micro_vividmed, 1 / 26, 1e-12);
    assertAlmostEquals(values.chexbert_5_f1_micro, 2 / 3, 1e-12);
    assertEquals(groups.class!.Edema.chexbert_f1.value, 1);
    assertEquals(groups.class!["Pleural Effusion"].chexbert_recall.value, 0);
  });
  await withFile(head + row("x", { Edema: 7 }), async (path) => {
    const error = await assertRejects(() => readChexbert(path), InputError, "line 2");
    assertEquals(error.code, "BAD_LABELS");
  });
});

Deno.test("RadGraph's annotations: F1 of entities with and without relations", async () => {
  const entity = (tokens: string, relations: unknown[] = []) => ({
    tokens,
    label: "Observation::definitely present",
    relations,
  });
  const annotations = {
    "0": { text: "Edema . No effusion .", entities: { 1: entity("edema"), 2: entity("effusion") } },
    "1": { text: "Edema and effusion .", entities: { 1: entity("edema") } },
  };
  await withFile(JSON.stringify(annotations), async (path) => {
    const { metrics } = await scoresOf(reports, { labels: { radgraph: await readRadgraph(path) } });
    assertEquals(metrics.radgraph_f1.n, 1);
    assertAlmostEquals(metrics.radgraph_f1.value, 2 / 3, 1e-12);
  });
  await withFile('{"0": {"text": "a"}}', async (path) => {
    await assertRejects(() => readRadgraph(path), InputError, 'record "0"');
  });
  await withFile("[", async (path) => {
    await assertRejects(() => readRadgraph(path), InputError, "not JSON");
  });
});

const prediction = (id: string, task: Prediction["task"], split?: string): Prediction => ({
  id,
  task,
  ...(split === undefined ? {} : { split }),
  prompt: "Is it there?",
  answer: "yes",
  boxes: [],
  masks: [],
  reference: { answer: "yes", boxes: [], masks: [] },
});

Deno.test("ratings of a file: by id, by part and id, only steps of the scale", async () => {
  const ratings = { a: 4, "test/a": 2, b: 3.5, q: 1 };
  await withFile(JSON.stringify(ratings), async (path) => {
    using rater = (await openRater({ ratings: path, replies: "" }))!;
    assertEquals(await rater.rate(prediction("a", "report")), { likert: 4 });
    assertEquals(await rater.rate(prediction("a", "caption", "test")), { likert: 2 });
    assertEquals(await rater.rate(prediction("a", "report", "train")), { likert: 4 });
    assertEquals(await rater.rate(prediction("b", "report")), {});
    assertEquals(await rater.rate(prediction("none", "report")), {});
    assertEquals(await rater.rate(prediction("q", "vqa")), { "judge_accuracy": 1 });
    assertEquals(await rater.rate(prediction("q", "ground-box")), {});
    const { metrics } = await scoresOf([
      { id: "a", task: "report", answer: "x", reference: "y" },
      { id: "b", task: "report", answer: "x", reference: "y" },
    ], { extra: (one) => rater.rate(one) });
    assertEquals([metrics.likert.value, metrics.likert.n], [4, 1]);
  });
  await withFile(
    "{",
    (path) =>
      assertRejects(() => openRater({ ratings: path, replies: "" }), InputError, "not JSON"),
  );
});

Deno.test("a judge at an address: every text is sent once, also after a restart", async () => {
  await withFile("", async (replies) => {
    let asked = 0;
    const fetch = (url: string, init: RequestInit) => {
      asked++;
      assertEquals(url, "https://judge.example/v1/chat/completions");
      assertEquals(new Headers(init.headers).get("authorization"), "Bearer secret");
      const { messages } = JSON.parse(init.body as string);
      const content = messages[0].content.includes("radiology report")
        ? "Score: 3"
        : "Correctness: 1";
      return Promise.resolve(Response.json({ choices: [{ message: { content } }] }));
    };
    const options = {
      url: "https://judge.example/v1/chat/completions",
      model: "m",
      key: "secret",
      replies,
      fetch,
    };
    for (const round of [1, 2]) {
      using rater = (await openRater(options))!;
      assertEquals(await rater.rate(prediction("a", "report")), { likert: 3 }, `round ${round}`);
      assertEquals(await rater.rate(prediction("a", "vqa")), { "judge_accuracy": 1 });
      assertEquals(asked, 2);
    }
    // A line that a kill has torn.
    await Deno.writeTextFile(replies, (await Deno.readTextFile(replies)).trimEnd().slice(0, -4));
    using rater = (await openRater(options))!;
    assertEquals(await rater.rate(prediction("a", "report")), { likert: 3 });
    assertEquals(await rater.rate(prediction("a", "vqa")), { "judge_accuracy": 1 });
    assertEquals(asked, 3);
    using again = (await openRater(options))!;
    assertEquals(await again.rate(prediction("a", "vqa")), { "judge_accuracy": 1 });
    assertEquals(asked, 3);
    await assertRejects(() => openRater({ url: options.url, replies }), InputError, "judge-model");
  });
});
