/**
 * From an example of any dataset to a record as MedPLIB's own data have it: one region at most, and a `<SEG>` for every mask.
 *
 * @module
 */
import { InputError, type Mask, type TaughtFinding, type TrainingExample } from "@medvlm/core";
import { regionMask } from "./preprocess.ts";
import { type TrainingRecord, turnsOf } from "./training_sample.ts";

const regionTag = "<region></region>";
const seg = "<SEG>";
const regionMark = /<region>\s*<\/region>/;
/** Whether a text points at a place, which needs a region or a mask of its own. */
const pointsAt = (text: string) => regionMark.test(text) || text.includes(seg);

/**
 * The answer to a request for a mask where the dataset has no words for it. The official training lists, whose wording is not
 * published, have `<SEG>` in every such answer.
 */
export const groundedAnswer = "Sure, it is <SEG>.";

function unusable(id: string, why: string): InputError {
  return new InputError("BAD_RECORD", `Cannot learn from the example "${id}": ${why}`);
}

/** Pixels of any of the masks. */
export function unionOf(masks: readonly Mask[]): Mask {
  const [first, ...others] = masks;
  if (others.length === 0) return first!;
  const data = first!.data.slice();
  for (const { data: other } of others) {
    for (let i = 0; i < data.length; i++) data[i] |= other[i]!;
  }
  return { ...first!, data };
}

/** What each of `count` marks of an answer points at. */
function masksFor(id: string, findings: readonly TaughtFinding[], count: number): Mask[] {
  const masked = findings.filter(({ masks }) => masks.length > 0);
  const all = masked.flatMap(({ masks }) => [...masks]);
  if (all.length === 0) {
    throw unusable(
      id,
      "its answer has <SEG> or should have one, and the dataset has no mask for it",
    );
  }
  if (count === 1) return [unionOf(all)];
  if (count === masked.length) {
    const start = ({ span }: TaughtFinding) => span?.[0] ?? Infinity;
    // In the order of the text where the dataset says it, else in that of the dataset.
    return masked.toSorted((a, b) => start(a) < start(b) ? -1 : start(a) > start(b) ? 1 : 0)
      .map(({ masks }) => unionOf(masks));
  }
  if (count === all.length) return all;
  throw unusable(
    id,
    `its answer has ${count} <SEG> for ${masked.length} findings with ${all.length} masks`,
  );
}

/** The same question with the place of its region marked, as a request for an answer has it. */
function questionOf(prompt: string): string {
  return regionMark.test(prompt) ? prompt : prompt.replace(/\s*([?.!]?)$/, ` ${regionTag}$1`);
}

/** Turns after the last one that points at a place: an example has only the places of its own question and answer. */
function placelessHistory({ history = [] }: TrainingExample): TrainingExample["history"] {
  const last = history.findLastIndex(({ question, answer }) =>
    pointsAt(question) || pointsAt(answer)
  );
  return history.slice(last + 1);
}

/**
 * The record of an example.
 *
 * A request for a mask whose answer has no `<SEG>` gets {@linkcode groundedAnswer}; several masks of one `<SEG>` are united.
 * Masks of examples that ask for text are not used. Earlier turns count as far as they point at nothing.
 *
 * @throws {InputError} code `BAD_RECORD` when question or answer is empty, there are several regions, a region is missing, or
 * masks and `<SEG>` do not fit.
 */
export function recordOf(example: TrainingExample): TrainingRecord {
  const { id, image, task, regions = [], findings } = example;
  const [region] = regions;
  if (regions.length > 1) {
    throw unusable(id, `it has ${regions.length} regions, and MedPLIB takes one per question`);
  }
  const grounds = task === "ground-mask" || task === "ground-instances" || task === "ground-box";
  const answer = grounds && !example.answer.includes(seg) ? groundedAnswer : example.answer.trim();
  const prompt = region === undefined ? example.prompt.trim() : questionOf(example.prompt.trim());
  if (prompt === "" || answer === "") {
    throw unusable(id, `its ${prompt === "" ? "question" : "answer"} is empty`);
  }
  if (region === undefined && regionMark.test(prompt)) {
    throw unusable(id, "its question is about a region, and the dataset has none for it");
  }
  const marks = answer.split(seg).length - 1;
  const history = placelessHistory(example)!;
  return {
    image,
    turns: turnsOf({ prompt, answer, history }),
    ...(region === undefined ? {} : { region: regionMask(region, image.width, image.height) }),
    ...(marks === 0 ? {} : { masks: masksFor(id, findings, marks) }),
  };
}
