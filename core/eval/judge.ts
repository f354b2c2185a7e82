/**
 * Ratings by a judge: a person whose ratings lie in a file, or a language model behind an endpoint that the user names.
 * Nothing here opens a connection; the caller hands in `fetch`.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { stripText } from "./python_text.ts";
import { StreamingMetric } from "./streaming.ts";

/** What is judged. */
export interface JudgedItem {
  /** Names the item in a file of ratings. */
  readonly id: string;
  /** The system's text. */
  readonly prediction: string;
  /** The expected text. */
  readonly reference: string;
  /** The question, for answers; reports have none. */
  readonly question?: string;
}

/** Gives a rating, or undefined when there is none that can be used. */
export interface Judge {
  /** The rating of an item. @throws {InputError} when the judge cannot be asked. */
  rate(item: JudgedItem): Promise<number | undefined>;
}

/** Fills `{prediction}`, `{reference}` and `{question}` into a template. Braces of other words stay. */
export function judgePrompt(template: string, item: JudgedItem): string {
  return template.replace(
    /\{(prediction|reference|question)\}/g,
    (_, name: "prediction" | "reference" | "question") => item[name] ?? "",
  );
}

/**
 * A prompt for rating a report from 0 to 4, PeFoMed's scale, in this project's words. Ratings depend on the wording; to
 * compare with a paper, give the template of its script.
 */
export const likertTemplate: string =
  `Rate how well a generated radiology report agrees with the report of the radiologist.
4: same meaning and complete; nothing of clinical weight differs.
3: close; small deviations that do not change diagnosis or advice.
2: clear differences, but the main diagnosis is right.
1: several important errors or omissions.
0: no agreement.

Report of the radiologist:
{reference}

Generated report:
{prediction}

Reply with one line and nothing else:
Score: <0, 1, 2, 3 or 4>`;

/** A prompt for judging an answer right (1) or wrong (0), in this project's words. */
export const correctnessTemplate: string =
  `Judge whether an answer to a question about a medical image is right.

Question: {question}
Expected answer: {reference}
Given answer: {prediction}

Reply with 1 if the given answer means the same as the expected one or answers the question well enough, else with 0, in one line and nothing else:
Correctness: <0 or 1>`;

const rating = /(?<![\p{L}\p{N}_])[0-5](?:\.\p{Nd}+)?(?![\p{L}\p{N}_])/u;

/**
 * The whole number in a reply as PeFoMed reads it: after the first `Score:` (or `Correctness:`; case matters), the first
 * number from 0 to 5. A decimal such as 3.5 makes the script fail, and the sample is skipped: undefined.
 */
export function parsePefomedRating(
  reply: string,
  key: "Score:" | "Correctness:" = "Score:",
): number | undefined {
  const found = reply.split(key)[1]?.match(rating)?.[0];
  return found === undefined || found.includes(".") ? undefined : Number(found);
}

/**
 * The number in a reply as VividMed reads it: what stands between the first `Score: ` and the next, without blanks and full
 * stops around it. Any number is accepted. Undefined where the script fails; it retries three times and then scores 0.
 */
export function parseVividmedScore(reply: string): number | undefined {
  const part = reply.split("Score: ")[1]?.replace(/^[ .]+|[ .]+$/g, "");
  if (part === undefined) return undefined;
  const text = stripText(part).replace(/(?<=\d)_(?=\d)/g, "");
  if (/^[+-]?(?:inf|infinity)$/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  if (/^[+-]?nan$/i.test(text)) return NaN;
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
}

/** How ratings are distributed, and their mean. */
export interface LikertSummary {
  /** Rated samples. */
  readonly count: number;
  /** Samples without a usable rating, or with one outside the scale. */
  readonly unrated: number;
  /** Per step of the scale, from the lowest. */
  readonly counts: readonly number[];
  /** sum(rating * count) / sum(count), in steps of the scale; NaN without ratings. */
  readonly weightedAverage: number;
}

/** The weighted average of counts per step: sum((lowest + i) n_i) / sum(n_i). */
export function likertAverage(counts: readonly number[], lowest = 0): number {
  const total = counts.reduce((a, b) => a + b, 0);
  return counts.reduce((sum, count, i) => sum + (lowest + i) * count, 0) / total;
}

/**
 * A five-point Likert scale over ratings that arrive one at a time. PeFoMed's scale is 0 to 4; for a scale of 1 to 5 say
 * `lowest: 1`, which moves the average by one.
 */
export function likertMetric(
  { lowest = 0, steps = 5 }: { readonly lowest?: number; readonly steps?: number } = {},
): StreamingMetric<number | undefined, number | undefined, LikertSummary> {
  return new StreamingMetric(
    (given) => {
      const isOnScale = given !== undefined && Number.isInteger(given) && given >= lowest &&
        given < lowest + steps;
      return isOnScale ? given : undefined;
    },
    (ratings) => {
      const counts = Array.from(
        { length: steps },
        (_, i) => ratings.filter((one) => one === lowest + i).length,
      );
      const count = counts.reduce((a, b) => a + b, 0);
      return {
        count,
        unrated: ratings.length - count,
        counts,
        weightedAverage: likertAverage(counts, lowest),
      };
    },
  );
}

/**
 * A judge from ratings at hand: an object of numbers by id, as parsed from a JSON file.
 *
 * @throws {InputError} `BAD_RATINGS` when it is not one. Items that it does not name have no rating.
 */
export function judgeFromRatings(json: unknown): Judge {
  const isTable = typeof json === "object" && json !== null && !Array.isArray(json) &&
    Object.values(json).every((value) => typeof value === "number");
  if (!isTable) {
    throw new InputError(
      "BAD_RATINGS",
      "Cannot read the ratings: expected a JSON object of one number per sample id; check the file",
    );
  }
  const ratings = new Map(Object.entries(json as Record<string, number>));
  return { rate: ({ id }) => Promise.resolve(ratings.get(id)) };
}

/** What an endpoint needs to be told. */
export interface EndpointJudgeOptions {
  /** Address of the chat completions, such as `https://host/v1/chat/completions`. */
  readonly url: string;
  /** Name of the model, as the endpoint knows it. */
  readonly model: string;
  /** Headers, for instance of authorisation. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The connection, `globalThis.fetch` for instance. */
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Text of the message; {@linkcode likertTemplate} by default. */
  readonly template?: string;
  /** Text of a system message; none by default. */
  readonly system?: string;
  /** Reads a rating from the reply; {@linkcode parsePefomedRating} by default. */
  readonly parse?: (reply: string) => number | undefined;
  /** Longest reply, in tokens; 100 by default. */
  readonly maxTokens?: number;
  /** Sampling temperature; 0 by default. */
  readonly temperature?: number;
  /** How often to ask when the reply has no rating; 1 by default. */
  readonly attempts?: number;
}

/**
 * A judge behind an OpenAI-compatible endpoint. Texts of the data set go to that address; the user decides whether they may.
 *
 * @throws {InputError} (from `rate`) `JUDGE_FAILED` when the endpoint answers with an error or with something else than a
 * chat completion.
 */
export function judgeFromEndpoint(options: EndpointJudgeOptions): Judge {
  const { template = likertTemplate, parse = parsePefomedRating, attempts = 1 } = options;
  return {
    async rate(item) {
      for (let attempt = 0; attempt < attempts; attempt++) {
        const value = parse(await ask(judgePrompt(template, item), options));
        if (value !== undefined) return value;
      }
      return undefined;
    },
  };
}

async function ask(prompt: string, options: EndpointJudgeOptions): Promise<string> {
  const { url, model, headers, fetch, system, maxTokens = 100, temperature = 0 } = options;
  const messages = [
    ...(system === undefined ? [] : [{ role: "system", content: system }]),
    { role: "user", content: prompt },
  ];
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ model, messages, "max_tokens": maxTokens, temperature }),
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new InputError(
      "JUDGE_FAILED",
      `Cannot get a rating from ${url}: it answered with the status ${response.status}; check the address, the model's name and the key`,
    );
  }
  const reply: unknown = await response.json().catch(() => undefined);
  const content = (reply as { choices?: { message?: { content?: unknown } }[] } | undefined)
    ?.choices?.[0]?.message?.content;
  if (typeof content !== "string") {
    throw new InputError(
      "JUDGE_FAILED",
      `Cannot get a rating from ${url}: the answer is no chat completion; check that it speaks OpenAI's protocol`,
    );
  }
  return content;
}
