import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { InputError } from "@medvlm/core";
import { decodeImage } from "@medvlm/core/image";
import { helpText, parseFlags } from "./flags.ts";
import { phantomsCommand, writePhantoms } from "./phantoms_command.ts";
import { phantomFormats } from "./phantoms/formats/mod.ts";
import type { Terminal } from "./terminal.ts";

/** A terminal that remembers. */
function recorded(): Terminal & { readonly printed: string[] } {
  const printed: string[] = [];
  return { printed, out: (text) => printed.push(text), note() {}, redraws: false, now: () => 0 };
}

async function write(args: readonly string[], signal = new AbortController().signal) {
  const terminal = recorded();
  await writePhantoms(parseFlags(phantomsCommand, args).values, terminal, signal);
  return terminal.printed.join("");
}

/** Every file below a folder with its bytes. */
async function files(folder: string, prefix = ""): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${prefix}`)) {
    const path = `${prefix}${name}`;
    if (isDirectory) {
      for (const [inner, bytes] of await files(folder, `${path}/`)) found.set(inner, bytes);
    } else found.set(path, String(await Deno.readFile(`${folder}/${path}`)));
  }
  return new Map([...found].sort(([one], [other]) => one < other ? -1 : 1));
}

async function inTemporary(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("every format twice gives the same bytes; another seed gives others", async () => {
  await inTemporary(async (folder) => {
    for (const format of Object.keys(phantomFormats)) {
      const args = ["--format", format, "--count", "5", "--size", "32", "--seed", "9"];
      await write([...args, "--out", `${folder}/${format}/one`]);
      await write([...args, "--out", `${folder}/${format}/two`]);
      const one = await files(`${folder}/${format}/one`);
      assert(one.size > 0);
      assertEquals(one, await files(`${folder}/${format}/two`), format);
      assert(![...one.keys()].some((name) => name.endsWith(".part")));
    }
    await write(["--format", "vindr", "--count", "5", "--size", "32", "--out", `${folder}/other`]);
    const other = await files(`${folder}/other`), one = await files(`${folder}/vindr/one`);
    assert([...other.values()].every((bytes) => ![...one.values()].includes(bytes)));
  });
});

Deno.test("a folder that holds something is refused, unless files may be replaced", async () => {
  await inTemporary(async (folder) => {
    const args = ["--format", "vqa-rad", "--count", "2", "--size", "32", "--out", folder];
    assertStringIncludes(await write(args), "Wrote 2 phantoms as vqa-rad");
    const before = await files(folder);
    const refused = await assertRejects(() => write([...args, "--seed", "5"]), InputError);
    assertEquals(refused.code, "NOT_EMPTY");
    assertEquals(await files(folder), before);
    await write([...args, "--seed", "5", "--force"]);
    assertEquals([...(await files(folder)).keys()], [...before.keys()]);
    assertNotEquals(await files(folder), before);
  });
});

Deno.test("what does not fit together is refused in one sentence", async () => {
  await inTemporary(async (folder) => {
    const out = ["--out", `${folder}/new`];
    for (
      const [args, words] of [
        [["--format", "vindr", "--kind", "ct", ...out], "holds cxr only"],
        [["--format", "ct-rate", "--kind", "cxr", ...out], "holds ct only"],
        [["--kind", "cxr", "--slices", "3", ...out], "radiographs have none"],
        [["--kind", "ct", "--slices", "3", ...out], "holds single slices"],
        [["--format", "sheet", ...out], "at most 60"],
        [[], "--out DIR"],
      ] as const
    ) {
      const error = await assertRejects(() => write(args), InputError);
      assertEquals(error.code, "USAGE");
      assertStringIncludes(error.message, words);
    }
    assertEquals(await files(folder), new Map());
    await Deno.writeTextFile(`${folder}/file`, "");
    const error = await assertRejects(() => write(["--out", `${folder}/file`]), InputError);
    assertEquals(error.code, "NOT_WRITABLE");
  });
});

Deno.test("when stopped, the lists are not written and nothing temporary stays", async () => {
  await inTemporary(async (folder) => {
    const abort = new AbortController();
    abort.abort();
    const args = ["--format", "vqa-rad", "--count", "2", "--size", "32", "--out", folder];
    await assertRejects(() => write(args, abort.signal), Error, "Stopped");
    assertEquals([...(await files(folder)).keys()], []);
  });
});

Deno.test("a contact sheet has every phantom twice", async () => {
  await inTemporary(async (folder) => {
    const args = ["--format", "sheet", "--count", "7", "--size", "32", "--out", folder];
    await write(args);
    const file = await Deno.readFile(`${folder}/sheet.png`);
    const { raster: { width, height } } = await decodeImage(file, "sheet.png");
    assertEquals([width, height], [6 * 32, 4 * 32]);
  });
});

Deno.test("help names every format", () => {
  const text = helpText(phantomsCommand);
  assertStringIncludes(text, "deno task zoo phantoms");
  for (const name of Object.keys(phantomFormats)) assertStringIncludes(text, name);
});
