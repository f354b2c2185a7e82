/**
 * Conversation templates as data, and their rendering. A template names its style; each style has one renderer, so a
 * new style is one more member of {@link ChatTemplate} and one more case of {@link renderChat}.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/** One turn of a conversation. */
export interface ChatMessage {
  /** Who speaks. */
  role: "user" | "assistant";
  /** What was said; undefined or empty leaves the turn open, for the model to continue. */
  text?: string;
}

/**
 * "Two separators" (FastChat's `ADD_COLON_TWO`): the system text and every user turn end with the first separator,
 * every assistant turn with the second, and turns start with the role's name and a colon.
 */
export interface TwoSeparatorTemplate {
  /** The style, which decides the renderer. */
  style: "two-separators";
  /** Name of the template, as command lines use it. */
  name: string;
  /** What comes first in every conversation. */
  system: string;
  /** Names of the user and the assistant. */
  roles: readonly [user: string, assistant: string];
  /** What ends a user turn and an assistant turn. */
  separators: readonly [string, string];
}

/** A conversation template. */
export type ChatTemplate = TwoSeparatorTemplate;

/**
 * The templates by name: `llava_v1` (LLaVA's `conv_llava_v1`, a curious human) and `vicuna_v1` (FastChat's
 * `vicuna_v1.1`, a curious user). Both give `system USER: … ASSISTANT: …</s>USER: …`.
 */
export const chatTemplates: Readonly<Record<"llava_v1" | "vicuna_v1", ChatTemplate>> = {
  "llava_v1": {
    style: "two-separators",
    name: "llava_v1",
    system: "A chat between a curious human and an artificial intelligence assistant. " +
      "The assistant gives helpful, detailed, and polite answers to the human's questions.",
    roles: ["USER", "ASSISTANT"],
    separators: [" ", "</s>"],
  },
  "vicuna_v1": {
    style: "two-separators",
    name: "vicuna_v1",
    system: "A chat between a curious user and an artificial intelligence assistant. " +
      "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    roles: ["USER", "ASSISTANT"],
    separators: [" ", "</s>"],
  },
};

/** Other names the published code uses for the same templates. */
const ALIASES: Readonly<Record<string, keyof typeof chatTemplates>> = {
  v1: "vicuna_v1",
  "medplib_v1": "llava_v1",
};

/**
 * Finds a template by its name or an alias (`v1`, `medplib_v1`).
 *
 * @throws {InputError} code `UNKNOWN_TEMPLATE`, with the known names.
 */
export function findChatTemplate(name: string): ChatTemplate {
  const key = Object.hasOwn(ALIASES, name) ? ALIASES[name] : name;
  if (Object.hasOwn(chatTemplates, key)) return chatTemplates[key as keyof typeof chatTemplates];
  const known = [...Object.keys(chatTemplates), ...Object.keys(ALIASES)].join(", ");
  throw new InputError(
    "UNKNOWN_TEMPLATE",
    `Cannot use the conversation template "${name}": it is unknown, choose one of ${known}`,
  );
}

/**
 * Writes a conversation as the text a model is prompted with. An open last turn of the assistant ends with its name
 * and a colon, without a space.
 *
 * @param messages Turns of user and assistant in alternation, the user first.
 * @throws {InputError} code `BAD_CONVERSATION` when the turns do not alternate.
 */
export function renderChat(template: ChatTemplate, messages: readonly ChatMessage[]): string {
  messages.forEach((message, i) => {
    const expected = i % 2 === 0 ? "user" : "assistant";
    if (message.role !== expected) {
      throw new InputError(
        "BAD_CONVERSATION",
        `Cannot build a prompt: turn ${
          i + 1
        } is by the ${message.role} instead of the ${expected}; turns must alternate and start with the user`,
      );
    }
  });
  switch (template.style) {
    case "two-separators":
      return renderTwoSeparators(template, messages);
  }
}

function renderTwoSeparators(
  { system, roles, separators }: TwoSeparatorTemplate,
  messages: readonly ChatMessage[],
): string {
  let prompt = system + separators[0];
  for (const { role, text } of messages) {
    const who = role === "user" ? 0 : 1;
    prompt += text ? `${roles[who]}: ${text}${separators[who]}` : `${roles[who]}:`;
  }
  return prompt;
}
