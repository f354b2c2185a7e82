/**
 * Chest phantoms as MedPLIB's stages want them: pictures with their conversations, drawn by kind and put into batches.
 *
 * @module
 */
import {
  CLIP_STATISTICS,
  SAM_STATISTICS,
  type TrainingBatch,
  trainingBatch,
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
import { drawKind } from "./draw_kind.ts";
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

/** A conversation and its picture. */
export interface ChosenLesson {
  /** The picture. */
  readonly picture: TaughtPicture;
  /** What is said. */
  readonly lesson: PreparedLesson;
}

/** Kinds of conversation with their shares. */
export type Mix = Readonly<Partial<Record<Lesson, number>>>;

/** One conversation of the kind about the picture; topics count alike, however many conversations they have. */
function drawLesson(
  { lessons }: TaughtPicture,
  kind: Lesson,
  random: Random,
): PreparedLesson | undefined {
  const some = lessons.get(kind);
  if (some === undefined) return undefined;
  const topic = random.pick([...new Set(some.map((one) => one.topic))]);
  return random.pick(some.filter((one) => one.topic === topic)).prepared();
}

/** So many conversations by their shares, each about a picture that has one of the kind. */
export function drawLessons(
  pool: Pool<TaughtPicture>,
  mix: Mix,
  count: number,
  random: Random,
): ChosenLesson[] {
  const shares = Object.entries(mix) as [Lesson, number][];
  return Array.from({ length: count }, () => {
    const kind = drawKind(shares, random);
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
