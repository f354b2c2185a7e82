/**
 * Ratings by a judge: a file of ratings, or a language model whose replies are kept, so that no text is sent twice.
 *
 * @module
 */
import { InputError, openFile, readAll } from "@medvlm/core";
import {
  correctnessTemplate,
  type Judge,
  judgeFromEndpoint,
  judgeFromRatings,
  judgePrompt,
  likertMetric,
  likertTemplate,
  parsePefomedRating,
} from "@medvlm/core/eval";
import { textRecords } from "../data/text_records.ts";
import type { Values } from "./estimates.ts";
import type { Prediction } from "./prediction.ts";
import { textsOf } from "./family.ts";

/** Where the ratings come from. */
export interface JudgeOptions {
  /** A JSON file of numbers by id. */
  readonly ratings?: string | undefined;
  /** Address of chat completions that speak OpenAI's protocol. */
  readonly url?: string | undefined;
  /** Name of the model there. */
  readonly model?: string | undefined;
  /** Sent as bearer token where there is one. */
  readonly key?: string | undefined;
  /** File that keeps the replies of an endpoint. */
  readonly replies: string;
  /** The connection. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** Measures predictions. */
export interface Rater extends Disposable {
  /** `likert` (0 to 4) of reports and captions, `judge_accuracy` (0 or 1) of answers; nothing where there is no rating. */
  rate(prediction: Prediction): Promise<Values>;
}

/** What is judged how: reports on a scale from 0 to 4, answers as right or wrong. */
const kinds = {
  report: { metric: "likert", steps: 5, template: likertTemplate, key: "Score:" },
  answer: {
    metric: "judge_accuracy",
    steps: 2,
    template: correctnessTemplate,
    key: "Correctness:",
  },
} as const;

function kindOf({ task }: Prediction): typeof kinds[keyof typeof kinds] | undefined {
  if (task === "report" || task === "caption") return kinds.report;
  return task === "vqa" || task === "region-vqa" ? kinds.answer : undefined;
}

/** Ratings of an endpoint, kept in a file line by line. */
class KeptReplies implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #ratings: Map<string, number | null>;

  private constructor(file: Deno.FsFile, ratings: Map<string, number | null>) {
    this.#file = file;
    this.#ratings = ratings;
  }

  static async open(path: string): Promise<KeptReplies> {
    const file = await Deno.open(path, { create: true, append: true }).catch((error) => {
      throw new InputError("NOT_WRITABLE", `Cannot write "${path}": ${error.message}`);
    });
    const ratings = new Map<string, number | null>();
    using source = await openFile(path);
    for await (const { text = "" } of textRecords(source)) {
      try {
        const { key, rating } = JSON.parse(text);
        ratings.set(String(key), typeof rating === "number" ? rating : null);
      } catch {
        // A line that a kill has torn: that text is sent again.
      }
    }
    if (source.size > 0) await file.write(new Uint8Array([10]));
    return new KeptReplies(file, ratings);
  }

  async rate(key: string, ask: () => Promise<number | undefined>): Promise<number | undefined> {
    const known = this.#ratings.get(key);
    if (known !== undefined) return known ?? undefined;
    const rating = await ask();
    this.#ratings.set(key, rating ?? null);
    const line = `${JSON.stringify({ key, rating: rating ?? null })}\n`;
    await this.#file.write(new TextEncoder().encode(line));
    return rating;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

async function digestOf(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(bytes).toHex();
}

async function fileJudge(path: string): Promise<Judge> {
  const bytes = await readAll(path, 2 ** 28);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new InputError(
      "BAD_RATINGS",
      `Cannot read "${path}" of --judge-ratings: it is not JSON: ${(error as Error).message}`,
    );
  }
  return judgeFromRatings(json);
}

/** A rating that is a step of the scale; nothing else counts. */
function onScale(rating: number | undefined, steps: number): boolean {
  return likertMetric({ steps }).add(rating).result().count === 1;
}

/**
 * Opens what the user named.
 *
 * @throws {InputError} code `BAD_RATINGS` for an unusable file, `USAGE` for an address without a model;
 * `JUDGE_FAILED` while rating.
 */
export async function openRater(options: JudgeOptions): Promise<Rater | undefined> {
  const { ratings, url, model, key, replies, fetch = globalThis.fetch } = options;
  if (ratings !== undefined) {
    const judge = await fileJudge(ratings);
    return {
      async rate(prediction) {
        const kind = kindOf(prediction);
        if (kind === undefined) return {};
        const { id, split, answer } = prediction;
        const item = { prediction: answer, reference: textsOf(prediction)[0] ?? "" };
        // Where ids repeat in several parts, the part stands before them.
        const rating = await judge.rate({ ...item, id: `${split ?? ""}/${id}` }) ??
          await judge.rate({ ...item, id });
        return onScale(rating, kind.steps) ? { [kind.metric]: rating! } : {};
      },
      [Symbol.dispose]() {},
    };
  }
  if (url === undefined) return undefined;
  if (model === undefined) {
    throw new InputError(
      "USAGE",
      "Cannot use --judge-url without --judge-model: name the model that the endpoint shall use",
    );
  }
  const kept = await KeptReplies.open(replies);
  return {
    async rate(prediction) {
      const kind = kindOf(prediction), [reference] = textsOf(prediction);
      if (kind === undefined || reference === undefined) return {};
      const { id, answer, prompt } = prediction;
      const item = { id, prediction: answer, reference, question: prompt ?? "" };
      const judge = judgeFromEndpoint({
        url,
        model,
        fetch,
        template: kind.template,
        parse: (reply) => parsePefomedRating(reply, kind.key),
        ...(key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } }),
      });
      const sent = await digestOf(JSON.stringify([url, model, judgePrompt(kind.template, item)]));
      const rating = await kept.rate(sent, () => judge.rate(item));
      return onScale(rating, kind.steps) ? { [kind.metric]: rating! } : {};
    },
    [Symbol.dispose]: () => kept[Symbol.dispose](),
  };
}
