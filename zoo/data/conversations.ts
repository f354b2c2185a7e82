/**
 * Conversations about pictures as the LLaVA family stores them: turns of `human` and `gpt`, the picture marked by
 * `<image>`, regions and masks by file names in tags.
 *
 * @module
 */
import type { Example, Turn } from "@medvlm/core";
import { asFields, asList, FieldError, type Fields, textOf } from "./fields.ts";
import type { ReadOptions } from "./reader.ts";

/** Most turns of a conversation. */
const MAX_TURNS = 1000;

/** A question, its answer, and the files their tags name. */
export interface TaggedTurn extends Turn {
  /** File in the `<region>` tag of the question; the tag stays in the text, empty. */
  readonly region?: string;
  /** File in the `<mask>` tag of the answer; the tag is taken out. */
  readonly mask?: string;
}

/** Takes the file name out of a tag; at most one tag of a kind may stand in a turn. */
function takeTag(text: string, tag: "region" | "mask"): { text: string; file?: string } {
  const found = [...text.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, "g"))];
  if (found.length > 1) throw new FieldError(`a turn has ${found.length} <${tag}> tags`);
  if (found.length === 0) return { text };
  const kept = tag === "region" ? "<region></region>" : "";
  return { text: text.replace(found[0][0], () => kept).trim(), file: found[0][1].trim() };
}

function spoken(value: unknown, who: "human" | "gpt"): string {
  const turn = asFields(value, "a turn");
  if (turn.from !== who) throw new FieldError(`a turn of "${turn.from}" where "${who}" speaks`);
  return textOf(turn, "value");
}

/** The turns of a record. LLaVA-Med's alignment file spells the field `conversatons`. */
export function turnsOf(fields: Fields): TaggedTurn[] {
  const values = asList(fields.conversations ?? fields.conversatons, '"conversations"');
  if (values.length === 0 || values.length % 2 !== 0 || values.length > 2 * MAX_TURNS) {
    throw new FieldError(`a conversation of ${values.length} turns`);
  }
  return Array.from({ length: values.length / 2 }, (_, index) => {
    const asked = spoken(values[2 * index], "human").replaceAll("<image>", "").trim();
    const question = takeTag(asked, "region");
    const answer = takeTag(spoken(values[2 * index + 1], "gpt"), "mask");
    if (question.text === "") throw new FieldError("a question is empty");
    return {
      question: question.text,
      answer: answer.text,
      ...(question.file ? { region: question.file } : {}),
      ...(answer.file ? { mask: answer.file } : {}),
    };
  });
}

/** The turns that become examples, with those before them. */
export function* chosenTurns(
  turns: readonly TaggedTurn[],
  options: ReadOptions,
): Generator<{ index: number; turn: TaggedTurn; history: Pick<Example, "history"> }> {
  const wanted = options.turns ?? "each";
  for (const [index, turn] of turns.entries()) {
    if (wanted === "first" && index > 0 || wanted === "last" && index < turns.length - 1) continue;
    const history = turns.slice(0, index).map(({ question, answer }) => ({ question, answer }));
    yield { index, turn, history: index > 0 ? { history } : {} };
  }
}
