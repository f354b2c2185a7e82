/**
 * From a request to PFMVG's prompt, and from its answer to boxes in the picture.
 *
 * @module
 */
import {
  type Box,
  type GenerateOptions,
  InputError,
  type Phrase,
  type Request,
  type SearchOptions,
} from "@medvlm/core";
import { boxToPixels, iou, rougeLCoco, roundBox } from "@medvlm/core/eval";
import { type Ask, type Asked, type MinigptModel, plainPrompt } from "@medvlm/core/minigpt";
import {
  boxIn,
  boxPattern,
  byteAutomaton,
  parseGroundedText,
  type TextBox,
  type TextPhrase,
  type TokenAutomaton,
  tokenAutomaton,
} from "@medvlm/core/text";
import { usableBox } from "./evaluation.ts";
import { captionInstruction, referQuestion } from "./prompt.ts";

/** What PFMVG can be told besides the usual. */
export interface PfmvgOptions extends GenerateOptions, SearchOptions {
  /**
   * Grounding answers are exactly one box: tokens that would leave the grammar are forbidden. Captions and reports have no grammar and
   * refuse it. Default false.
   */
  readonly constrained?: boolean | undefined;
}

/** The longest box and the end token, in tokens of LLaMA's vocabulary: what the published evaluation allows. */
const boxTokens = 20;
/** For captions and reports, as PeFoMed allows. */
const captionTokens = 300;

/** Boxes of the grid that can be used, in pixels of the picture, rounded as in the paper's figure. */
function pixelBoxes(
  boxes: readonly TextBox[],
  { width, height }: { readonly width: number; readonly height: number },
): Box[] {
  return boxes.map(boxIn).filter((box) => box !== undefined)
    .map((box) => roundBox(boxToPixels(box, width, height)) as unknown as Box);
}

/**
 * What an answer points at: its phrases, and boxes that follow none under the label that was looked for. Malformed boxes are
 * repaired where that is possible, see `parseGroundedText`, and left out where not.
 *
 * @param label What was asked for.
 */
export function answerPhrases(
  text: string,
  label: string,
  size: { readonly width: number; readonly height: number },
): Phrase[] {
  const { phrases, boxes } = parseGroundedText(text);
  const own = new Set(phrases.flatMap((phrase: TextPhrase) => phrase.boxes));
  const bare = boxes.filter((box) => !own.has(box) && box.outcome !== "rejected");
  const named = phrases.filter(({ boxes }) => boxes.some((box) => box.outcome !== "rejected"));
  return [
    ...(bare.length === 0 ? [] : [{
      text: label,
      span: [bare[0]!.span[0], bare.at(-1)!.span[1]] as const,
      boxes: pixelBoxes(bare, size),
      masks: [],
    }]),
    ...named.map(({ text, span, boxes }) => ({
      text,
      span,
      boxes: pixelBoxes(boxes, size),
      masks: [],
    })),
  ].sort((a, b) => a.span[0] - b.span[0]);
}

/** How much two texts of boxes agree: the IoU of the first box of each that can be used, 0 where one has none. */
export function boxAgreement(one: string, other: string): number {
  const a = usableBox(one), b = usableBox(other);
  return a === undefined || b === undefined ? 0 : iou(a, b);
}

/** Automata by the vocabulary they are for; a model has one vocabulary as long as it lives. */
const automata = new WeakMap<MinigptModel, TokenAutomaton>();

function boxAutomaton(model: MinigptModel): TokenAutomaton {
  const known = automata.get(model);
  if (known !== undefined) return known;
  const { tokenizer, config } = model;
  const made = tokenAutomaton(byteAutomaton(boxPattern), tokenizer, config.llama.vocabulary);
  automata.set(model, made);
  return made;
}

/** A task tag of the family in front of a prompt: such a prompt is used as it is. */
const tagged = /^\[(refer|caption|vqa|grounding|detection|identify)\]/;

function taskOf({ task, prompt }: Request): "ground-box" | "caption" {
  if (task !== undefined) return task === "ground-box" ? task : "caption";
  return prompt.trim().startsWith("[caption]") ? "caption" : "ground-box";
}

/**
 * PFMVG's way of asking: a phrase to look for becomes `[refer] give me the location of …`, everything else `[caption] …`.
 *
 * @throws {InputError} code `UNSUPPORTED_OPTION` for a caption or report that shall keep to the grammar of boxes.
 */
export const ask: Ask<PfmvgOptions> = (request, { constrained = false }, model): Asked => {
  const words = plainPrompt(request, "PFMVG", model);
  if (taskOf(request) === "caption") {
    if (constrained) {
      throw new InputError(
        "UNSUPPORTED_OPTION",
        "Cannot use --constrained for a caption or report: pfmvg's grammar is that of one box; use --task ground-box or leave --constrained out",
      );
    }
    const question = tagged.test(words) ? words : captionInstruction(words);
    const agreement = (one: string, other: string) => rougeLCoco(one, [other]);
    return { question, maxNewTokens: captionTokens, agreement };
  }
  const { image: { width, height } } = request;
  const label = words.replace(tagged, "").trim();
  return {
    question: tagged.test(words) ? words : referQuestion(words),
    maxNewTokens: boxTokens,
    constraint: constrained ? boxAutomaton(model) : undefined,
    agreement: boxAgreement,
    phrases: (text) => answerPhrases(text, label, { width, height }),
  };
};
