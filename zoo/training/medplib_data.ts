/**
 * Chest phantoms as MedPLIB's stages want them: pictures with their conversations, drawn by kind and put into batches.
 *
 * @module
 */
import {
  CLIP_STATISTICS,
  SAM_STATISTICS,
  sharedBatch,
  type TrainingBatch,
  type TrainingSample,
} from "@medvlm/medplib/parts";
import type { ChestPhantom } from "../phantoms/mod.ts";
import type { Random } from "../phantoms/random.ts";
import {
  type Lesson,
  type LessonPlan,
  lessonPlans,
  type PreparedLesson,
  type Teaching,
} from "./medplib_lessons.ts";
import type { BalancedKind } from "./balance.ts";
import { type AnswerLength, drawBatch, pickAlike } from "./draw_kind.ts";
import { greySquare, normalisedSquares } from "./pictures.ts";
import { phantomPool, type PhantomSource, type Pool } from "./pool.ts";

/** A picture with everything that is said about it. */
export interface TaughtPicture {
  /** Grey, at the side of the vision tower's input. */
  readonly clip: Uint8Array;
  /** Grey, at the side of the pixel encoder's input. */
  readonly sam: Uint8Array;
  /** All conversations by kind; a kind without any may be absent. */
  readonly lessons: ReadonlyMap<Lesson, readonly LessonPlan[]>;
}

/** What a phantom teaches. */
export function taughtPicture(phantom: ChestPhantom, teaching: Teaching): TaughtPicture {
  const { config } = teaching;
  return {
    clip: greySquare(phantom.image, config.clip.imageSize),
    sam: greySquare(phantom.image, config.sam.imageSize),
    lessons: Map.groupBy(lessonPlans(phantom, teaching), ({ lesson }) => lesson),
  };
}

/** Phantoms with everything that is said about them. */
export function taughtPictures(teaching: Teaching, source: PhantomSource): Pool<TaughtPicture> {
  return phantomPool(source, (phantom) => taughtPicture(phantom, teaching));
}

/** A picture and what is said about it in a batch. */
export interface ChosenPicture {
  /** The picture. */
  readonly picture: TaughtPicture;
  /** Conversations about it, at least one. */
  readonly lessons: readonly PreparedLesson[];
}

/** Kinds of conversation with their shares. */
export type Mix = Readonly<Partial<Record<Lesson, number>>>;

const lengthOf = (kind: Lesson): AnswerLength =>
  kind === "caption" || kind === "report" ? "long" : "short";
const balanced: BalancedKind<Lesson, LessonPlan> = {
  kind: "yesno",
  key: ({ topic, answer }) => `${topic}: ${answer}`,
};

/**
 * Pictures with conversations by their shares. Topics of a kind count alike however many conversations they have, and so do
 * answers: most findings are absent, and who says so without looking must not be right more often than not.
 *
 * @param each Most conversations with short answers about a picture; of those with long answers it has one.
 */
export function drawLessons(
  pool: Pool<TaughtPicture>,
  mix: Mix,
  size: { readonly pictures: number; readonly each: number },
  random: Random,
): ChosenPicture[] {
  const pick = (some: readonly LessonPlan[]) => {
    const about = pickAlike(some, ({ topic }) => topic, random);
    return random.pick(pickAlike(about, ({ answer }) => answer, random));
  };
  const drawn = drawBatch(pool, { mix, lengthOf, ...size, pick, balanced }, random);
  return drawn.map(({ picture, lessons }) => ({
    picture,
    lessons: lessons.map((plan) => plan.prepared()),
  }));
}

/** Conversations as a batch. */
export function lessonBatch(
  { config, tokenizer }: Teaching,
  chosen: readonly ChosenPicture[],
): TrainingBatch {
  const clip = { side: config.clip.imageSize, statistics: CLIP_STATISTICS, scale: 1 / 255 };
  const sam = { side: config.sam.imageSize, statistics: SAM_STATISTICS, scale: 1 };
  const pictures = chosen.map(({ picture, lessons }) => {
    const clipPixels = normalisedSquares([picture.clip], clip);
    const grounded = lessons.some(({ mask }) => mask !== undefined) && {
      samPixels: normalisedSquares([picture.sam], sam),
      resized: { width: sam.side, height: sam.side },
    };
    return lessons.map(({ ids, labels, cells, mask }): TrainingSample => ({
      ids,
      labels,
      clipPixels,
      ...(cells === undefined ? {} : { cells }),
      ...(mask === undefined ? { masks: [] } : { masks: [mask], ...(grounded || {}) }),
    }));
  });
  return sharedBatch(pictures, config, {
    seg: tokenizer.tokenToId("<SEG>"),
    pad: tokenizer.padId ?? 0,
  });
}
