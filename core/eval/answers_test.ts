import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InputError } from "../errors.ts";
import { blockSimilarity, choiceMetric, closedAccuracyMedplib, matchChoice } from "./choice.ts";
import {
  judgeFromEndpoint,
  judgeFromRatings,
  judgePrompt,
  likertMetric,
  parsePefomedRating,
} from "./judge.ts";
import { radcliq, radgraphF1 } from "./reports.ts";
import { exactMatchMedplib, pefomedVqaMetric, tokenOverlap, tokenOverlapMedplib } from "./vqa.ts";
import { normaliseMedplib, normalisePefomed } from "./vqa_normalise.ts";

Deno.test("answers are normalised as the published scripts do", () => {
  assertEquals(normaliseMedplib("The two lungs, isnt it?"), "2 lungs isn't it");
  assertEquals(normaliseMedplib("1,250 mg/dl"), "1250 mgdl");
  assertEquals(normaliseMedplib("mg/dl"), "mg dl");
  assertEquals(normalisePefomed("An X ray"), "xray");
  assertEquals(normaliseMedplib(".".repeat(40)), ".".repeat(8));
  assertEquals(normaliseMedplib("couldntve couldnt've"), "couldntve couldn't've");
});

Deno.test("words shared: each as often as both have it, or as MedPLIB counts", () => {
  assertEquals(tokenOverlap("left left lung", "left lung"), {
    precision: 2 / 3,
    recall: 1,
    f1: 0.8,
  });
  assertEquals(tokenOverlapMedplib("left left lung", "left lung base").recall, 3 / 4);
  assertEquals(tokenOverlap("left left lung", "left lung base").recall, 2 / 3);
  assertEquals(exactMatchMedplib("left left lung", "left lung base"), 2 / 3);
  assertEquals(tokenOverlap("", "lung"), { precision: 0, recall: 0, f1: 0 });
});

Deno.test("PeFoMed's percentages have two decimals", () => {
  const metric = pefomedVqaMetric();
  for (const prediction of ["Yes.", "no", "no"]) {
    metric.add({ prediction, reference: "yes", questionType: "PRES", answerType: "CLOSED" });
  }
  assertEquals(metric.result(), {
    overall: 33.33,
    perQuestionType: { PRES: 33.33 },
    perAnswerType: { CLOSED: 33.33 },
  });
});

Deno.test("an answer names its option by letter, by text or by likeness", () => {
  const options = ["Lung cancer", "Pneumonia", "No disease"];
  assertEquals(matchChoice("(b)", options), 1);
  assertEquals(matchChoice("C.", options), 2);
  assertEquals(matchChoice("the lung cancer", options), 0);
  assertEquals(matchChoice("It looks like pneumonia to me", options), 1);
  assertEquals(matchChoice("Z", options), 0);
  assertEquals(matchChoice("A", []), -1);
});

Deno.test("block similarity: longest blocks first", () => {
  assertEquals(blockSimilarity("abcd", "bcde"), 0.75);
  assertEquals(blockSimilarity("", ""), 1);
  fc.assert(fc.property(fc.string(), (text) => assertEquals(blockSimilarity(text, text), 1)));
});

Deno.test("accuracy per modality, and its mean", () => {
  const options = ["yes", "no"];
  const metric = choiceMetric();
  metric.add({ prediction: "Yes", reference: "yes", options, modality: "CT" });
  metric.add({ prediction: "no", reference: "yes", options, modality: "CT" });
  metric.add({ prediction: "A", reference: "yes", options, modality: "MR" });
  const { mean, classMean, groups } = metric.result();
  assertEquals([mean, classMean, groups.CT.mean], [2 / 3, 0.75, 0.5]);
  const strict = closedAccuracyMedplib().add({ prediction: "A", reference: "yes" });
  assertEquals(strict.result().mean, 0);
});

Deno.test("ratings: a table, a five-point scale, the replies of a model", async () => {
  const metric = likertMetric();
  for (const value of [4, 4, 2, 7, undefined, 3.5]) metric.add(value);
  assertEquals(metric.result(), {
    count: 3,
    unrated: 3,
    counts: [0, 0, 1, 0, 2],
    weightedAverage: 10 / 3,
  });
  assertEquals(likertMetric({ lowest: 1 }).add(5).result().weightedAverage, 5);
  const item = { id: "a", prediction: "{reference}", reference: "r" };
  assertEquals(judgePrompt("{prediction} {reference}{question} {x}", item), "{reference} r {x}");
  assertEquals(await judgeFromRatings({ a: 3 }).rate(item), 3);
  assertEquals(await judgeFromRatings({}).rate(item), undefined);
  assertThrows(() => judgeFromRatings({ a: "3" }), InputError);
  assertEquals(parsePefomedRating("Score: -1"), 1);
});

Deno.test("a judge behind an endpoint asks again, and says when the endpoint fails", async () => {
  const item = { id: "a", prediction: "clear", reference: "clear lungs" };
  const replies = ["I think it is fine", "Score: 4"];
  const asked: { url: string; body: Record<string, unknown> }[] = [];
  const fetch = (url: string, init: RequestInit) => {
    asked.push({ url, body: JSON.parse(init.body as string) });
    const content = replies[asked.length - 1];
    return Promise.resolve(Response.json({ choices: [{ message: { content } }] }));
  };
  const options = { url: "https://judge.example/v1/chat/completions", model: "m", fetch };
  assertEquals(await judgeFromEndpoint({ ...options, attempts: 2 }).rate(item), 4);
  assertEquals(asked.length, 2);
  assertEquals([asked[0].body.model, asked[0].body.max_tokens], ["m", 100]);
  const broken = (response: Response) =>
    judgeFromEndpoint({ ...options, fetch: () => Promise.resolve(response) }).rate(item);
  await assertRejects(() => broken(new Response("", { status: 401 })), InputError, "401");
  await assertRejects(() => broken(new Response("<html>")), InputError, "no chat completion");
});

Deno.test("RadGraph and RadCliQ", () => {
  const entity = (tokens: string, relations: unknown[] = []) => ({
    tokens,
    label: "Observation",
    relations,
  });
  const report = { entities: { 1: entity("edema"), 2: entity("mild", [["modify", "1"]]) } };
  assertEquals(radgraphF1(report, report), 1);
  assertEquals(radgraphF1(report, { entities: { 1: entity("mild") } }), 0);
  const perfect = { radgraph: 1, bertScore: 1, chexbert: 1, bleu2: 1 };
  const poor = { radgraph: 0, bertScore: 0, chexbert: 0, bleu2: 0 };
  // The regression estimates errors.
  assertEquals(radcliq(perfect) < radcliq(poor), true);
  assertAlmostEquals(radcliq({ ...perfect, bleu2: 0 }), radcliq(perfect), 1e-9);
});
