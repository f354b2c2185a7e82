import { assertEquals, assertRejects } from "@std/assert";
import { InputError } from "@medvlm/core";
import { findCases, matchName } from "./find.ts";

/** Makes files below a temporary folder and returns the kinds and case names found in one of its folders. */
async function found(files: readonly string[], dir = ""): Promise<string[]> {
  const root = await Deno.makeTempDir();
  try {
    for (const file of files) {
      await Deno.mkdir(`${root}/${file}`.replace(/[^/]*$/, ""), { recursive: true });
      await Deno.writeTextFile(`${root}/${file}`, "{}");
    }
    const noDevice = () => Promise.reject(new Error("no case was run"));
    return (await findCases(`${root}/${dir}`, noDevice)).map((one) =>
      "cases" in one
        ? `${one.kind}: ${one.cases.map(({ name }) => name).join(" ")}`
        : `${one.kind}?`
    );
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("names may carry suffixes after a separator or a number", () => {
  const known = ["moe", "moe-layer"];
  assertEquals(matchName("moe-layer", known), "moe-layer");
  assertEquals(matchName("moe-layer-seed7", known), "moe-layer");
  assertEquals(matchName("moe_2", known), "moe");
  assertEquals(matchName("moe2", known), "moe");
  assertEquals(matchName("moel", known), undefined);
});

Deno.test("a case's kind is its path, at any depth and with any suffix", async () => {
  const files = [
    "golden/medplib/moe-layer/case.json",
    "golden/medplib/moe-layer-seed7/case.json",
    "golden/medplib/llm-moe/seed9/case.json",
    "golden/medplib/preprocess/case.json",
    "golden/medplib/unheard-of/case.json",
    "golden/medplib/tiny-release/config.json",
    "golden/vividmed/preprocess/case.json",
  ];
  assertEquals(await found(files), [
    "medplib/llm-moe: medplib/llm-moe/seed9",
    "medplib/moe-layer: medplib/moe-layer",
    "medplib/moe-layer: medplib/moe-layer-seed7",
    "medplib/preprocess: medplib/preprocess",
    "medplib/unheard-of?",
    "vividmed/preprocess?",
  ]);
  assertEquals(await found(files, "golden/medplib/moe-layer"), [
    "medplib/moe-layer: medplib/moe-layer",
  ]);
  assertEquals(await found(files, "golden/medplib/llm-moe"), [
    "medplib/llm-moe: medplib/llm-moe/seed9",
  ]);
});

Deno.test("a collection that cannot be read is a failed case", async () => {
  assertEquals(await found(["x/containers/index.json"]), ["containers: containers/index"]);
});

Deno.test("a folder inside a collection runs that part of it", async () => {
  const golden = new URL("../golden/", import.meta.url).pathname;
  const noDevice = () => Promise.reject(new Error("no case was run"));
  const [all] = await findCases(`${golden}preprocess`, noDevice);
  const [part] = await findCases(`${golden}preprocess/resample`, noDevice);
  const count = (one: typeof all) => "cases" in one ? one.cases.length : 0;
  assertEquals(count(part), count(all));
  const [corrupt] = await findCases(`${golden}containers/corrupt`, noDevice);
  assertEquals(
    "cases" in corrupt && corrupt.cases.length > 0 &&
      corrupt.cases.every(({ name }) => name.startsWith("containers/corrupt/")),
    true,
  );
});

Deno.test("folders without cases, and no folders at all, are refused", async () => {
  const empty = await assertRejects(() => found(["a/b.txt"]), InputError);
  assertEquals(empty.code, "NO_CASES");
  const missing = await assertRejects(() => found([], "nowhere"), InputError);
  assertEquals(missing.code, "NOT_FOUND");
});
