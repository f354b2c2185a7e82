/**
 * What is said about a chest phantom: captions, questions, region questions and requests for masks, tokenised when first wanted.
 *
 * @module
 */
import type { Example, Mask } from "@medvlm/core";
import type { LlamaTokenizer } from "@medvlm/core/text";
import {
  ignoredLabel,
  type MedplibConfig,
  regionCells,
  regionGrid,
  regionMask,
  trainingText,
  turnsOf,
} from "@medvlm/medplib/parts";
import { chestExamples, type ChestPhantom, closedExamples } from "../phantoms/mod.ts";
import { union } from "../phantoms/thing_examples.ts";

/**
 * Kinds of conversation. `yesno` is every closed question about the picture, while `closed` is a few with as many yes as no;
 * `request` is one for a mask of which only the words are taught.
 */
export type Lesson =
  | "caption"
  | "report"
  | "yesno"
  | "closed"
  | "open"
  | "region"
  | "request"
  | "structure"
  | "finding";

/** A conversation about a picture, in token ids. */
export interface PreparedLesson {
  /** Which kind. */
  readonly lesson: Lesson;
  /** What is asked for: the question's category, or the name of what is segmented. */
  readonly topic: string;
  /** Answer as the phantom has it. */
  readonly answer: string;
  /** Token ids with placeholders. */
  readonly ids: readonly number[];
  /** Targets. */
  readonly labels: readonly number[];
  /** Grid cells of the region. */
  readonly cells?: readonly (readonly [number, number])[];
  /** Mask of the one `<SEG>`. */
  readonly mask?: Mask;
}

/** A conversation that is tokenised when it is wanted, then kept. */
export interface LessonPlan extends Pick<PreparedLesson, "lesson" | "topic" | "answer"> {
  /** The conversation. */
  readonly prepared: () => PreparedLesson;
}

/** What turns phantoms into lessons. */
export interface Teaching {
  /** Sizes of inputs and grid. */
  readonly config: MedplibConfig;
  /** The model's tokenizer. */
  readonly tokenizer: LlamaTokenizer;
}

/** Questions of the alignment stage, after LLaVA's list for captions. */
const captionQuestions = [
  "Describe the image.",
  "What does the image show?",
  "Describe what is seen in this image.",
  "What is seen in this image?",
];

/**
 * Answer to a request for a mask. It names the thing right before the token, whose hidden state becomes the mask: a small
 * language model, unlike Vicuna, does not carry the name on to the end of an answer like `Sure, it is <SEG>`.
 */
export function groundedAnswer({ answer }: Pick<Example, "answer">): string {
  return `${answer.replace(/\.$/, "")} <SEG>.`;
}

const structures = new Set(["lungs", "right lung", "left lung", "heart", "aorta"]);

/** An example as a conversation of a kind. */
interface Draft {
  readonly lesson: Lesson;
  readonly topic: string;
  readonly example: Example;
}

function draftsOf(example: Example): Draft[] {
  const { task, answerType, category = "", findings = [] } = example;
  if (task === "vqa" && answerType !== undefined) {
    return [{ lesson: answerType, topic: category, example }];
  }
  if (task === "region-vqa") return [{ lesson: "region", topic: example.answer, example }];
  if (task === "report" && category === "") {
    return [{ lesson: "report", topic: "report", example }];
  }
  if (task === "ground-mask" || task === "ground-instances") {
    const topic = findings[0]!.label;
    const named = { ...example, answer: groundedAnswer(example) };
    return [
      { lesson: structures.has(topic) ? "structure" : "finding", topic, example: named },
      { lesson: "request", topic, example: named },
    ];
  }
  return [];
}

/** Conversations that were tokenised before: questions and short answers come again with every picture. */
const tokenised = new WeakMap<LlamaTokenizer, Map<string, { ids: number[]; labels: number[] }>>();

function tokenise(
  tokenizer: LlamaTokenizer,
  example: Example,
  template: string,
): { ids: number[]; labels: number[] } {
  let known = tokenised.get(tokenizer);
  if (known === undefined) tokenised.set(tokenizer, known = new Map());
  const key = JSON.stringify([template, example.prompt, example.answer]);
  let found = known.get(key);
  if (found === undefined) {
    const { inputIds: ids, labels } = trainingText(tokenizer, turnsOf(example), { template });
    found = { ids, labels };
    // Reports hardly come twice.
    if (example.task !== "report") known.set(key, found);
  }
  return found;
}

function prepareLesson(
  { config, tokenizer }: Teaching,
  { lesson, topic, example }: Draft,
  size: number,
  template: string,
): PreparedLesson {
  const { ids, labels } = tokenise(tokenizer, example, template);
  const [region] = example.regions ?? [];
  const masks = (example.findings ?? []).flatMap(({ masks = [] }) => [...masks]);
  const { imageSize, patchSize } = config.clip;
  const cells = region === undefined || region.kind === "mask-file"
    ? undefined
    : regionCells(regionGrid(regionMask(region, size, size), imageSize, patchSize), Infinity, 0);
  const grounds = lesson === "structure" || lesson === "finding";
  return {
    lesson,
    topic,
    answer: example.answer,
    ids,
    labels: cells?.length === 0 ? labels.map(() => ignoredLabel) : labels,
    ...(cells === undefined ? {} : { cells }),
    ...(grounds ? { mask: union(masks) } : {}),
  };
}

/** Everything that is said about a phantom. The same phantom has the same conversations. */
export function lessonPlans(phantom: ChestPhantom, teaching: Teaching): LessonPlan[] {
  const size = phantom.image.width;
  const examples = chestExamples(phantom);
  const report = examples.find(({ task, category }) =>
    task === "report" && category === undefined
  )!;
  const caption: Draft = {
    lesson: "caption",
    topic: "caption",
    example: {
      ...report,
      prompt: captionQuestions[phantom.index % captionQuestions.length]!,
      answer: report.attributes!.findings!,
    },
  };
  // Training and evaluation of the official code differ in a few words of the system text: a small model learns both. All
  // conversations about a picture have the same, so that a batch can share them.
  const template = phantom.index % 2 === 0 ? "llava_v1" : "vicuna_v1";
  const asked = closedExamples(phantom).map((example): Draft => ({
    lesson: "yesno",
    topic: example.category!,
    example,
  }));
  return [caption, ...examples.flatMap(draftsOf), ...asked].map((draft): LessonPlan => {
    const { lesson, topic, example: { answer } } = draft;
    let prepared: PreparedLesson | undefined;
    return {
      lesson,
      topic,
      answer,
      prepared: () => prepared ??= prepareLesson(teaching, draft, size, template),
    };
  });
}
