/**
 * Conversations about chest phantoms as MedPLIB's stages want them: captions, questions, region questions, masks.
 *
 * @module
 */
import type { Example, Mask } from "@medvlm/core";
import type { LlamaTokenizer } from "@medvlm/core/text";
import {
  CLIP_STATISTICS,
  ignoredLabel,
  type MedplibConfig,
  regionCells,
  regionGrid,
  regionMask,
  SAM_STATISTICS,
  type TrainingBatch,
  trainingBatch,
  type TrainingSample,
  trainingText,
  turnsOf,
} from "@medvlm/medplib/parts";
import { chestExamples, type ChestPhantom } from "../phantoms/mod.ts";
import type { Random } from "../phantoms/random.ts";
import { greySquare, normalisedSquares } from "./pictures.ts";
import { phantomPool, type PhantomSource, type Pool } from "./pool.ts";

/** Kinds of conversation. */
export type Lesson = "caption" | "report" | "closed" | "open" | "region" | "structure" | "finding";

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

/** A picture with everything that is said about it. */
export interface TaughtPicture {
  /** Grey, at the side of the vision tower's input. */
  readonly clip: Uint8Array;
  /** Grey, at the side of the pixel encoder's input. */
  readonly sam: Uint8Array;
  /** All conversations by kind. */
  readonly lessons: Readonly<Record<Lesson, readonly PreparedLesson[]>>;
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

/** Answer of grounding data. */
export const groundedAnswer = "Sure, it is <SEG>.";

const structures = new Set(["lungs", "right lung", "left lung", "heart", "aorta"]);

/** Pixels of any of the masks. */
export function union(masks: readonly Mask[]): Mask {
  const [first, ...others] = masks;
  const data = first!.data.slice();
  for (const { data: other } of others) {
    for (let i = 0; i < data.length; i++) data[i] |= other[i]!;
  }
  return { ...first!, data };
}

function lessonOf(example: Example): { lesson: Lesson; topic: string; example: Example }[] {
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
    const lesson = structures.has(topic) ? "structure" : "finding";
    return [{ lesson, topic, example: { ...example, answer: groundedAnswer } }];
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
  { lesson, topic, example }: { lesson: Lesson; topic: string; example: Example },
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

/** Prepares everything that is said about a phantom. */
export function taughtPicture(phantom: ChestPhantom, teaching: Teaching): TaughtPicture {
  const { config } = teaching;
  const size = phantom.image.width;
  const examples = chestExamples(phantom);
  const report = examples.find(({ task, category }) =>
    task === "report" && category === undefined
  )!;
  const caption = {
    lesson: "caption" as const,
    topic: "caption",
    example: {
      ...report,
      prompt: captionQuestions[phantom.index % captionQuestions.length]!,
      answer: report.attributes!.findings!,
    },
  };
  const lessons: Record<Lesson, PreparedLesson[]> = {
    caption: [],
    report: [],
    closed: [],
    open: [],
    region: [],
    structure: [],
    finding: [],
  };
  // Training and evaluation of the official code differ in a few words of the system text: a small model learns both.
  [caption, ...examples.flatMap(lessonOf)].forEach((one, n) => {
    const template = (n + phantom.index) % 2 === 0 ? "llava_v1" : "vicuna_v1";
    lessons[one.lesson].push(prepareLesson(teaching, one, size, template));
  });
  return {
    clip: greySquare(phantom.image, config.clip.imageSize),
    sam: greySquare(phantom.image, config.sam.imageSize),
    lessons,
  };
}

/** Phantoms with everything that is said about them. */
export function taughtPictures(teaching: Teaching, source: PhantomSource): Pool<TaughtPicture> {
  return phantomPool(source, (phantom) => taughtPicture(phantom, teaching));
}

/** A conversation and its picture. */
export interface ChosenLesson {
  /** The picture. */
  readonly picture: TaughtPicture;
  /** What is said. */
  readonly lesson: PreparedLesson;
}

/** Kinds of conversation with their shares. */
export type Mix = Readonly<Partial<Record<Lesson, number>>>;

function drawKind(mix: Mix, random: Random): Lesson {
  const entries = Object.entries(mix) as [Lesson, number][];
  let left = random.uniform(0, entries.reduce((sum, [, share]) => sum + share, 0));
  for (const [kind, share] of entries) {
    left -= share;
    if (left < 0) return kind;
  }
  return entries.at(-1)![0];
}

/** One conversation of the kind about the picture; topics count alike, however many conversations they have. */
function drawLesson(
  { lessons }: TaughtPicture,
  kind: Lesson,
  random: Random,
): PreparedLesson | undefined {
  const some = lessons[kind];
  if (some.length === 0) return undefined;
  const topic = random.pick([...new Set(some.map((one) => one.topic))]);
  return random.pick(some.filter((one) => one.topic === topic));
}

/** So many conversations by their shares, each about a picture that has one of the kind. */
export function drawLessons(
  pool: Pool<TaughtPicture>,
  mix: Mix,
  count: number,
  random: Random,
): ChosenLesson[] {
  return Array.from({ length: count }, () => {
    const kind = drawKind(mix, random);
    for (let tries = 0; tries < 1000; tries++) {
      const picture = pool.at(random.whole(0, pool.size - 1));
      const lesson = drawLesson(picture, kind, random);
      if (lesson !== undefined) return { picture, lesson };
    }
    throw new RangeError(`Cannot find a conversation of kind ${kind} in ${pool.size} pictures`);
  });
}

/** Conversations as a batch. */
export function lessonBatch(
  { config, tokenizer }: Teaching,
  chosen: readonly ChosenLesson[],
): TrainingBatch {
  const clip = { side: config.clip.imageSize, statistics: CLIP_STATISTICS, scale: 1 / 255 };
  const sam = { side: config.sam.imageSize, statistics: SAM_STATISTICS, scale: 1 };
  const samples = chosen.map(({ picture, lesson }): TrainingSample => ({
    ids: lesson.ids,
    labels: lesson.labels,
    clipPixels: normalisedSquares([picture.clip], clip),
    ...(lesson.cells === undefined ? {} : { cells: lesson.cells }),
    ...(lesson.mask === undefined ? { masks: [] } : {
      masks: [lesson.mask],
      samPixels: normalisedSquares([picture.sam], sam),
      resized: { width: sam.side, height: sam.side },
    }),
  }));
  return trainingBatch(samples, config, {
    seg: tokenizer.tokenToId("<SEG>"),
    pad: tokenizer.padId ?? 0,
  });
}
