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
import { drawKind, pickAlike } from "./draw_kind.ts";
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

/** Kinds with long answers: they share no batch with others, which would be padded to their length. */
const long: ReadonlySet<Lesson> = new Set(["caption", "report", "list"]);

/**
 * One conversation of the kind about the picture. Topics count alike however many conversations they have, and so do answers:
 * most findings are absent, and who says so without looking must not be right more often than not.
 */
function drawLesson({ lessons }: TaughtPicture, kind: Lesson, random: Random): LessonPlan {
  const some = pickAlike(lessons.get(kind)!, ({ topic }) => topic, random);
  return random.pick(pickAlike(some, ({ answer }) => answer, random));
}

/** Different conversations about a picture by their shares, as many as it has up to `each`. */
function drawAbout(
  picture: TaughtPicture,
  shares: readonly (readonly [Lesson, number])[],
  each: number,
  random: Random,
): readonly PreparedLesson[] {
  const own = shares.filter(([kind]) => picture.lessons.has(kind));
  const chosen = new Set<LessonPlan>();
  for (let tries = 0; own.length > 0 && chosen.size < each && tries < 4 * each; tries++) {
    chosen.add(drawLesson(picture, drawKind(own, random), random));
  }
  return [...chosen].map((plan) => plan.prepared());
}

/**
 * Pictures with conversations by their shares, all with short answers or all with a long one. A kind that a picture lacks leaves
 * its share to the others.
 *
 * @param each Most conversations with short answers about a picture; of those with long answers it has one.
 */
export function drawLessons(
  pool: Pool<TaughtPicture>,
  mix: Mix,
  { pictures, each }: { readonly pictures: number; readonly each: number },
  random: Random,
): ChosenPicture[] {
  const all = Object.entries(mix) as [Lesson, number][];
  const isLong = long.has(drawKind(all, random));
  const alike = all.filter(([kind]) => long.has(kind) === isLong);
  return Array.from({ length: pictures }, () => {
    for (let tries = 0; tries < 1000; tries++) {
      const picture = pool.at(random.whole(0, pool.size - 1));
      const lessons = drawAbout(picture, alike, isLong ? 1 : each, random);
      if (lessons.length > 0) return { picture, lessons };
    }
    const kinds = alike.map(([kind]) => kind).join(", ");
    throw new RangeError(`Cannot find a conversation of kind ${kinds} in ${pool.size} pictures`);
  });
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
