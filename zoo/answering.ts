/**
 * Asks a model one question and waits for the whole answer, in a way that lets Ctrl-C through.
 *
 * @module
 */
import {
  DeviceError,
  type GenerateOptions,
  type GroundedAnswer,
  type Model,
  type Request,
} from "@medvlm/core";

/** Tokens of an answer of random weights, unless more are asked for. */
const untrainedTokens = 24;

/** Generation options as flags give them. */
export type AnswerOptions = {
  readonly [K in keyof GenerateOptions]: GenerateOptions[K] | undefined;
};

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
  // Noise has no end of its own: some tokens of it show as much as a thousand.
  const maxNewTokens = options.maxNewTokens ?? (model.untrained ? untrainedTokens : undefined);
  const events = model.answer(request, {
    temperature,
    topP,
    seed,
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
