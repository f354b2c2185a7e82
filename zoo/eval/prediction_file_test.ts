import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { InputError } from "@medvlm/core";
import { contentOf, PredictionFile, type PredictionHeader } from "./prediction_file.ts";
import { parsePrediction, type Prediction } from "./prediction.ts";

const header = (
  run: PredictionHeader["run"] = { plugin: "medplib", seed: 0 },
): PredictionHeader => ({
  predictions: 1,
  run,
  untrained: true,
});

const prediction = (id: string, answer: string): Prediction => ({
  id,
  task: "vqa",
  prompt: " Is the heart enlarged? ",
  answer,
  boxes: [],
  masks: [],
  reference: { answer: "yes", boxes: [], masks: [] },
});

const all = [
  prediction("1", "yes"),
  prediction("2", "zwölf \u2028 \u{1fac0}"),
  prediction("3", 'a "quote"\nand a line'),
];

async function inFolder(body: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(`${folder}/predictions.jsonl`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Appends what is missing, as an evaluation does. Returns how many were missing. */
async function complete(path: string): Promise<number> {
  using file = await PredictionFile.open(path, header());
  const missing = all.filter((one) => !file.has(one, contentOf(one)));
  for (const one of missing) await file.append(one);
  return missing.length;
}

Deno.test("whatever byte a kill leaves last, nothing is lost and nothing repeated", async () => {
  await inFolder(async (path) => {
    assertEquals(await complete(path), 3);
    const whole = await Deno.readFile(path);
    const lines = new TextDecoder().decode(whole).trimEnd().split("\n");
    assertEquals(lines.slice(1).map((line) => parsePrediction(line)), all);
    const lastLine = whole.lastIndexOf(10, whole.length - 2) + 1;
    for (let length = 0; length <= whole.length; length++) {
      // Every byte of the last line, and a few of the others.
      if (length < lastLine && length % 17 !== 0) continue;
      await Deno.writeFile(path, whole.subarray(0, length));
      const missing = await complete(path);
      if (length >= lastLine) assertEquals(missing, length === whole.length ? 0 : 1);
      assertEquals(await Deno.readFile(path), whole, `cut at ${length}`);
    }
  });
});

Deno.test("a last line without content is answered again", async () => {
  await inFolder(async (path) => {
    await complete(path);
    const whole = await Deno.readFile(path);
    const blank = whole.slice();
    blank.fill(0, whole.length - 20, whole.length - 1);
    await Deno.writeFile(path, blank);
    assertEquals(await complete(path), 1);
    assertEquals(await Deno.readFile(path), whole);
  });
});

Deno.test("other options, another dataset, damaged lines and foreign files are refused and kept", async () => {
  await inFolder(async (path) => {
    await complete(path);
    const whole = await Deno.readTextFile(path);
    const refused = async (said: string, run?: PredictionHeader["run"]) => {
      const before = await Deno.readTextFile(path);
      const error = await assertRejects(
        async () => (await PredictionFile.open(path, header(run)))[Symbol.dispose](),
        InputError,
      );
      assertStringIncludes(error.message, said);
      assert(!error.message.includes("\n"));
      assertEquals(await Deno.readTextFile(path), before);
    };
    await refused("seed was 0 and is 1", { plugin: "medplib", seed: 1 });
    await refused("seed was 0 and is not set", { plugin: "medplib" });

    const file = await PredictionFile.open(path, header());
    const other = { ...all[0], prompt: "Is it small?" };
    try {
      file.has(other, contentOf(other));
      throw new Error("not refused");
    } catch (error) {
      assertStringIncludes(String(error), "the dataset has changed");
    }
    await refused("another evaluation is writing it");
    file[Symbol.dispose]();

    await Deno.writeTextFile(path, whole.replace('"id":"1"', '"id":1e'));
    await refused("line 2: the line is not JSON");
    await Deno.writeTextFile(path, whole.split("\n").slice(1).join("\n"));
    await refused("does not say how it was made");
    await Deno.writeTextFile(path, "notes of mine");
    await refused("does not say how it was made");
    await Deno.writeTextFile(path, whole);
  });
});
