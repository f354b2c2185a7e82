/**
 * A model of the family as a plugin's `Model`: what differs between the systems is what they make of a request.
 *
 * @module
 */
import type { FolderWriter } from "../checkpoint/mod.ts";
import type { Device } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import type { AnswerEvent, GenerateOptions, Model, Request } from "../plugin.ts";
import { imageRowCount } from "./config.ts";
import type { MinigptAnswerOptions, MinigptModel } from "./model.ts";
import { chatPrompt } from "./prompt.ts";

/** What a system makes of a request. */
export interface Asked
  extends
    Pick<MinigptAnswerOptions, "constraint" | "phrases">,
    Required<Pick<MinigptAnswerOptions, "agreement">> {
  /** The question with its task tag, without image tag. */
  readonly question: string;
  /** Most tokens of the answer, where the request says nothing. */
  readonly maxNewTokens: number;
}

/** A system's way of asking. `O` are its options. */
export type Ask<O extends GenerateOptions> = (
  request: Request,
  options: O,
  model: MinigptModel,
) => Asked;

/**
 * The words of a request, without blanks around them.
 *
 * @param system For messages.
 * @throws {InputError} code `EMPTY_PROMPT`; `TOO_MANY_REGIONS` since the family reads no regions; `PROMPT_TOO_LONG` for more words
 * than the model has positions, even where the system's text processor would keep only the first of them.
 */
export function plainPrompt(
  { prompt, regions = [], image }: Request,
  system: string,
  model: MinigptModel,
): string {
  const words = prompt.trim();
  if (words === "") {
    throw new InputError(
      "EMPTY_PROMPT",
      "Cannot answer an empty prompt: ask a question with --prompt",
    );
  }
  if (regions.length > 0) {
    throw new InputError(
      "TOO_MANY_REGIONS",
      `Cannot use a region of the ${image.width}x${image.height} picture: ${system} takes none; say in words what is meant`,
    );
  }
  const tokens = model.tokenizer.encode(words, { addSpecialTokens: false }).length;
  model.newTokens(tokens + imageRowCount(model.config), 1);
  return words;
}

/** A loaded model that answers as a system does. */
export class MinigptAnswerer<O extends GenerateOptions = GenerateOptions> implements Model {
  /** The model itself; disposed with this. */
  readonly inner: MinigptModel;
  readonly #ask: Ask<O>;

  /** Takes over the model. */
  constructor(inner: MinigptModel, ask: Ask<O>) {
    this.inner = inner;
    this.#ask = ask;
  }

  /** Device that holds the weights; it stays open when the model is disposed. */
  get device(): Device {
    return this.inner.device;
  }

  /** Bytes of weights on the device. */
  get weightBytes(): number {
    return this.inner.weightBytes;
  }

  /** The weights were never trained: answers are noise. */
  get untrained(): boolean {
    return this.inner.untrained;
  }

  async *answer(
    request: Request,
    options: O & MinigptAnswerOptions = {} as O,
  ): AsyncGenerator<AnswerEvent> {
    const { question, ...asked } = this.#ask(request, options, this.inner);
    yield* this.inner.run(chatPrompt(question, request.history), request.image, {
      ...options,
      ...asked,
      maxNewTokens: options.maxNewTokens ?? asked.maxNewTokens,
    });
  }

  async save(target: FolderWriter, format?: "official" | "safetensors"): Promise<void> {
    await this.inner.save(target, format);
  }

  /** Releases the weights; the device stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]();
  }
}
