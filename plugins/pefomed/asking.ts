/**
 * From a request to PeFoMed's prompt.
 *
 * @module
 */
import {
  checkSearchOptions,
  type GenerateOptions,
  type Request,
  type SearchOptions,
} from "@medvlm/core";
import { type Ask, type Asked, plainPrompt } from "@medvlm/core/minigpt";
import { rougeLCoco } from "@medvlm/core/eval";
import { blipCaption } from "@medvlm/core/text";
import { evaluationQuestion, type PefomedBehaviour } from "./prompt.ts";

/** What PeFoMed can be told besides the usual. */
export interface PefomedOptions extends GenerateOptions, SearchOptions {
  /** `official` asks for reports with `[caption]` as the released evaluation does, `repaired` with `[report]`. Default `official`. */
  readonly behaviour?: PefomedBehaviour;
}

/** Its answers are free text, so there is no grammar to keep to. */
export const searchOptions: readonly (keyof SearchOptions)[] = [
  "beams",
  "lengthPenalty",
  "consensus",
];

/** What `predict_answers` allows. */
const answerTokens = 300;

/** A task tag in front of a prompt: such a prompt only passes the text processor. */
const tagged = /^\[(vqa|caption|report)\]/;

function questionOf(words: string, task: Request["task"], behaviour: PefomedBehaviour): string {
  if (tagged.test(words)) return blipCaption(words);
  switch (task) {
    case "report":
      return evaluationQuestion("iuxray", words, "", { behaviour });
    case "caption":
      return evaluationQuestion("roco", words);
    default:
      return evaluationQuestion("vqa", "", words);
  }
}

/** PeFoMed's way of asking: questions with its short-answer instruction, reports and captions with the prompt as instruction. */
export const ask: Ask<PefomedOptions> = (request, options, model): Asked => {
  checkSearchOptions("pefomed", searchOptions, options);
  const { behaviour = "official" } = options;
  return {
    question: questionOf(plainPrompt(request, "PeFoMed", model), request.task, behaviour),
    maxNewTokens: answerTokens,
    agreement: (one, other) => rougeLCoco(one, [other]),
  };
};
