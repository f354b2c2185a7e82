/**
 * Ratings of PeFoMed's answers and reports by a language model or by people (`gpt_eval/*.py`): right or wrong for answers, a scale
 * from 0 (no agreement) to 4 (same meaning, complete) for reports. Asking is `judgeFromEndpoint` of `@medvlm/core/eval`.
 *
 * @module
 */
import { type JudgedItem, likertMetric, type LikertSummary } from "@medvlm/core/eval";

/** What the published scripts ask with: model, role and the longest reply in tokens. */
export const judgeRequest = { model: "gpt-4", role: "user", maxTokens: 100 } as const;

/**
 * Fills a prompt of the published scripts: `{ground_truth}` and `{generated_report}` for reports, `{question}`, `{true_answer}` and
 * `{generated_answer}` for answers. Their wording is not part of this project; ratings of other prompts do not compare with the
 * paper's.
 */
export function fillPefomedPrompt(template: string, item: JudgedItem): string {
  const values: Readonly<Record<string, string>> = {
    "ground_truth": item.reference,
    "true_answer": item.reference,
    "generated_report": item.prediction,
    "generated_answer": item.prediction,
    question: item.question ?? "",
  };
  return template.replace(
    /\{(ground_truth|true_answer|generated_report|generated_answer|question)\}/g,
    (_, name: string) => values[name]!,
  );
}

/**
 * Likert counts of reports, 0 to 4, and the weighted average sum(i * n_i) / sum(n_i). The paper names the average and its code does
 * not have it, so the formula is an assumption. Ratings off the scale and missing ones are counted as unrated.
 */
export function reportRatings(ratings: Iterable<number | undefined>): LikertSummary {
  const metric = likertMetric();
  for (const rating of ratings) metric.add(rating);
  return metric.result();
}

/** A rated answer. */
export interface JudgedAnswer {
  /** As parsed from the reply; undefined when it had no usable number. */
  readonly rating: number | undefined;
  /** `OPEN`, or anything else for closed questions. */
  readonly answerType: string;
  /** What is asked for, such as `SIZE`. */
  readonly questionType: string;
}

/** Answers judged right among those that were rated. */
export interface JudgedShare {
  /** Rated answers. */
  readonly count: number;
  /** Of them, those rated 1. */
  readonly right: number;
}

/** Judged answers summed up. */
export interface JudgedAnswers {
  /** All rated answers. */
  readonly overall: JudgedShare;
  /** Open questions. */
  readonly open: JudgedShare;
  /** All others. */
  readonly closed: JudgedShare;
  /** By kind of question, in order of appearance. */
  readonly perQuestionType: Readonly<Record<string, JudgedShare>>;
  /** Answers without a usable rating; the scripts skip them. */
  readonly unrated: number;
}

function shareOf(answers: readonly JudgedAnswer[]): JudgedShare {
  return { count: answers.length, right: answers.filter(({ rating }) => rating === 1).length };
}

/** Answers by kind (`gpt_eval_medvqa.py`): 1 is right, every other number wrong. */
export function judgedAnswers(answers: readonly JudgedAnswer[]): JudgedAnswers {
  const rated = answers.filter(({ rating }) => rating !== undefined);
  const isOpen = ({ answerType }: JudgedAnswer) => answerType === "OPEN";
  const kinds = Map.groupBy(rated, ({ questionType }) => questionType);
  return {
    overall: shareOf(rated),
    open: shareOf(rated.filter(isOpen)),
    closed: shareOf(rated.filter((one) => !isOpen(one))),
    perQuestionType: Object.fromEntries([...kinds].map(([kind, all]) => [kind, shareOf(all)])),
    unrated: answers.length - rated.length,
  };
}
