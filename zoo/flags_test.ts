import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { InputError } from "@medvlm/core";
import { type Command, helpText, parseFlags } from "./flags.ts";

const command = {
  name: "brew",
  about: "Makes tea.",
  flags: {
    kind: { kind: "choice", choices: ["green", "black"], default: "green", about: "which tea" },
    cups: { kind: "whole", value: "N", min: 1, max: 9, default: 2, about: "how many" },
    heat: { kind: "number", value: "H", min: 0, max: 1, aboveMin: true, about: "how hot" },
    note: { kind: "text", value: "TEXT", about: "what to say" },
    with: { kind: "list", value: "THING", about: "what to add" },
    json: { kind: "switch", about: "print JSON" },
  },
} as const satisfies Command;

const parse = (...args: string[]) => parseFlags(command, args).values;

Deno.test("defaults, values in both spellings, lists and switches", () => {
  assertEquals({ ...parse() }, {
    kind: "green",
    cups: 2,
    heat: undefined,
    note: undefined,
    with: [],
    json: false,
  });
  const values = parse(
    "--cups",
    "3",
    "--heat=0.5",
    "--with",
    "a",
    "--with=b",
    "--json",
    "--kind",
    "black",
  );
  assertEquals({ ...values }, {
    kind: "black",
    cups: 3,
    heat: 0.5,
    note: undefined,
    with: ["a", "b"],
    json: true,
  });
});

Deno.test("values may be empty, start with a dash or hold an equals sign", () => {
  assertEquals(parse("--note", "").note, "");
  assertEquals(parse("--note=").note, "");
  assertEquals(parse("--note", "-5 a=b").note, "-5 a=b");
  assertEquals(parse("--note=--json").note, "--json");
  assertEquals(parse("--note", "12").note, "12");
});

Deno.test("every mistake is one sentence that says what to do", () => {
  const mistakes: [string[], string][] = [
    [["--cpus", "3"], "did you mean --cups"],
    [["--no-json"], "--no-json: brew has no such flag"],
    [["-x"], "brew has no such flag"],
    [["--__proto__", "1"], "no such flag"],
    [["--note"], "it needs a value; write --note TEXT"],
    [["--note", "--json"], "it needs a value"],
    [["--cups", "0"], 'Cannot use --cups "0": it is a whole number from 1 to 9'],
    [["--cups", "2.5"], "whole number"],
    [["--cups", ""], "whole number"],
    [["--heat", "0"], "a number above 0 and at most 1"],
    [["--heat", "NaN"], "a number above 0"],
    [["--heat", "-1"], 'Cannot use --heat "-1"'],
    [["--kind", "grene"], "it is one of green, black; did you mean green"],
    [["--cups", "1", "--cups", "2"], "Cannot use --cups 2 times"],
    [["--json", "--json"], "Cannot use --json 2 times"],
    [["--json=no"], "--json takes no value"],
    [["leaf"], "brew takes flags only"],
    [["--", "leaf"], "brew takes flags only"],
  ];
  for (const [args, part] of mistakes) {
    const error = assertThrows(() => parse(...args), InputError);
    assertStringIncludes(error.message, part);
    assertEquals(error.message.includes("\n"), false);
  }
});

Deno.test("help wins over everything else and lists every flag", () => {
  assertEquals(parseFlags(command, ["--nonsense", "--help"]).help, true);
  assertEquals(parseFlags(command, ["-h"]).help, true);
  const text = helpText(command);
  for (const name of [...Object.keys(command.flags), "help"]) {
    assertStringIncludes(text, `--${name}`);
  }
  assertStringIncludes(text, "from 1 to 9; default 2");
  assertStringIncludes(text, "--kind green|black");
});
