import { assertEquals, assertThrows } from "@std/assert";
import { HostDevice } from "@medvlm/core/device";
import { madeFiles, madeTokenizer, tiny } from "@medvlm/core/minigpt";
import {
  denseFeedForwardParameters,
  initialParameters,
  type LlamaConfig,
  llamaParameters,
} from "@medvlm/core/nn";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { tieKeysToQueries } from "./decoder_init.ts";
import { markedPicture } from "./patch_task.ts";
import { pictureNames } from "./patch_names.ts";
import { matchedWords, patchWords } from "./patch_words.ts";

const config: LlamaConfig = { ...tiny.llama, hiddenSize: 8, layers: 2, heads: 2, keyHeads: 2 };
const specs = llamaParameters(
  config,
  "F32",
  (_, prefix) => denseFeedForwardParameters(config, prefix, "F32"),
);
const input = { side: 64, statistics: { mean: [0], std: [1] }, scale: 1 };

Deno.test("patches have the words of what is on them and of where that is", () => {
  const { names } = patchWords, grid = [8, 2] as const;
  for (let n = 0; n < 20; n++) {
    const phantom = chestPhantom({ size: 64, seed: 3, index: splitIndex("train", n) });
    const { marks } = markedPicture(phantom, { input, grid, names: patchWords });
    assertEquals(marks.length, 16 * names.length);
    const said = new Set(
      names.filter((_, word) => marks.some((mark, i) => mark === 1 && i % names.length === word)),
    );
    assertEquals(["right", "left", "lung", "heart", "aorta"].every((word) => said.has(word)), true);
    const zones = phantom.findings.flatMap(({ zone }) => zone ?? []);
    for (const zone of ["upper", "middle", "lower"] as const) {
      assertEquals(said.has(zone), zones.includes(zone));
    }
    assertEquals(said.has("nodule"), phantom.findings.some(({ label }) => label === "Nodule/Mass"));
  }
});

Deno.test("words are matched by the rows that a language model has of them", async () => {
  const device = new HostDevice();
  const parameters = await initialParameters(device, specs, 1);
  const tokenizer = await madeTokenizer(madeFiles(tiny));
  const { concepts, words, names } = matchedWords(parameters, tokenizer, pictureNames, 1);
  assertEquals(names.names, [...patchWords.names, ...pictureNames.names]);
  assertEquals(concepts.shape, [pictureNames.names.length, 8]);
  const rows = await words.readFloats();
  const table = await parameters.weight("model.embed_tokens.weight").readFloats();
  patchWords.names.forEach((word, n) => {
    const [id] = tokenizer.encode(word, { addSpecialTokens: false });
    assertEquals(rows.subarray(8 * n, 8 * n + 8), table.subarray(8 * id!, 8 * id! + 8));
  });
  const spelt = Object.assign(Object.create(tokenizer), { encode: () => [5, 6] });
  assertThrows(() => matchedWords(parameters, spelt, pictureNames, 1), RangeError, "in pieces");
});

Deno.test("keys begin as queries where there are as many heads", async () => {
  const device = new HostDevice();
  const parameters = await initialParameters(device, specs, 1);
  const read = (which: string) =>
    parameters.weight(`model.layers.1.self_attn.${which}_proj.weight`).readFloats();
  const [q, k] = [await read("q"), await read("k")];
  await tieKeysToQueries(parameters, { ...config, keyHeads: 1 });
  assertEquals(await read("k"), k);
  await tieKeysToQueries(parameters, config);
  assertEquals([await read("k"), await read("q")], [q, q]);
});
