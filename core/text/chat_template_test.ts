import { assertEquals, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { chatTemplates, findChatTemplate, renderChat } from "./chat_template.ts";

Deno.test("two separators: rounds follow one another and the last turn stays open", () => {
  const template = { ...chatTemplates.vicuna_v1, system: "System." };
  assertEquals(
    renderChat(template, [
      { role: "user", text: "One?" },
      { role: "assistant", text: "1." },
      { role: "user", text: "Two?" },
      { role: "assistant" },
    ]),
    "System. USER: One? ASSISTANT: 1.</s>USER: Two? ASSISTANT:",
  );
  assertEquals(renderChat(template, []), "System. ");
});

Deno.test("templates are found by name and alias", () => {
  assertEquals(findChatTemplate("v1"), chatTemplates.vicuna_v1);
  assertEquals(findChatTemplate("medplib_v1"), chatTemplates.llava_v1);
  for (const name of ["llama", "toString", ""]) {
    assertThrows(() => findChatTemplate(name), InputError, "choose one of llava_v1, vicuna_v1");
  }
});

Deno.test("turns must alternate", () => {
  const wrong = () => renderChat(chatTemplates.llava_v1, [{ role: "assistant", text: "Hi" }]);
  assertThrows(wrong, InputError, "turn 1 is by the assistant");
});
