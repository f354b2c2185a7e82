/**
 * Asks a model one question and waits for the whole answer, in a way that lets Ctrl-C through.
 *
 * @module
 */
import {
  checkSearchOptions,
  DeviceError,
  type GenerateOptions,
  type GroundedAnswer,
  InputError,
  type Model,
  type Plugin,
  type Request,
  type SearchOptions,
} from "@medvlm/core";
import type { FlagTable } from "./flags.ts";

/** Tokens of an answer of random weights, unless more are asked for. */
const untrainedTokens = 24;

/** Generation options as flags give them. */
export type AnswerOptions =
  & { readonly [K in keyof GenerateOptions]: GenerateOptions[K] | undefined }
  & SearchOptions;

/** Flags of the commands that let a system search for its answers, for systems that can. */
export const searchFlags = {
  beams: {
    kind: "whole",
    value: "N",
    min: 1,
    max: 128,
    about: "answers followed at once by beam search, where the system has it",
  },
  "length-penalty": {
    kind: "number",
    value: "P",
    min: -10,
    max: 10,
    about: "exponent of the length that a beam's score is divided by; 1 when left out",
  },
  consensus: {
    kind: "whole",
    value: "N",
    min: 1,
    max: 128,
    about: "draw N answers and give the one that agrees best with the others, where the system can",
  },
  constrained: {
    kind: "switch",
    about:
      "forbid what would leave the grammar of the answers, such as one box; where there is one",
  },
} as const satisfies FlagTable;

/**
 * Checks what can be checked before weights are loaded.
 *
 * @throws {InputError} code `UNSUPPORTED_OPTION` for a search that the system does not have, `USAGE` for one that makes no sense.
 */
export function checkAnswerOptions<C>(
  { name, searchOptions }: Plugin<C>,
  options: AnswerOptions,
): void {
  checkSearchOptions(name, searchOptions, options);
  const { beams, lengthPenalty, consensus, temperature = 0 } = options;
  if (lengthPenalty !== undefined && beams === undefined) {
    throw new InputError(
      "USAGE",
      "Cannot use --length-penalty without --beams: only beam search compares answers by their length; add --beams N",
    );
  }
  if (beams !== undefined && beams > 1 && consensus !== undefined && consensus > 1) {
    throw new InputError(
      "USAGE",
      `Cannot use --consensus ${consensus} with --beams ${beams}: the one draws answers, the other searches for the most probable; leave one of them out`,
    );
  }
  if (beams !== undefined && beams > 1 && temperature > 0) {
    throw new InputError(
      "USAGE",
      `Cannot use --temperature ${temperature} with --beams ${beams}: beam search draws nothing; leave one of them out`,
    );
  }
}

/**
 * The whole answer to a request.
 *
 * @param options Without `maxNewTokens` the system's own limit holds, or 24 tokens for untrained weights.
 * @param show Called with new text as it arrives.
 * @throws {DeviceError} code `NO_ANSWER`; and whatever the model throws.
 */
export async function completeAnswer(
  model: Model,
  request: Request,
  options: AnswerOptions = {},
  show: (text: string) => void = () => {},
): Promise<GroundedAnswer> {
  const { temperature = 0, topP = 1, seed = 0, signal } = options;
  const { beams, lengthPenalty, consensus, constrained } = options;
  // Noise has no end of its own: some tokens of it show as much as a thousand.
  const maxNewTokens = options.maxNewTokens ?? (model.untrained ? untrainedTokens : undefined);
  const events = model.answer(request, {
    temperature,
    topP,
    seed,
    beams,
    lengthPenalty,
    consensus,
    constrained,
    ...(maxNewTokens === undefined ? {} : { maxNewTokens }),
    ...(signal ? { signal } : {}),
  });
  for await (const event of events) {
    if (event.type === "token") {
      show(event.text);
      // Where the host itself computes nothing else gives signals a chance to arrive.
      if (model.device.kind === "wasm") await new Promise((resolve) => setTimeout(resolve, 0));
    }
    if (event.type === "done") return event.answer;
  }
  throw new DeviceError("NO_ANSWER", "Cannot complete the answer: the model stopped without one");
}
