import { assert, assertEquals } from "@std/assert";
import { HostDevice } from "@medvlm/core/device";
import { minigptParameters, tiny } from "@medvlm/core/minigpt";
import { initialParameters } from "@medvlm/core/nn";
import { tensor } from "@medvlm/core/tensor";
import { chestPhantom } from "../phantoms/mod.ts";
import { namingLoss, namingTargets } from "./naming.ts";
import { wordsOfSize } from "./size_words.ts";

const { image } = chestPhantom({ size: 112, seed: 1, index: 0 });
/** 8 x 2 rows of 14 x 56 pixels. */
const pictures = [
  { image, sized: [] },
  { image, sized: [{ word: "large", box: [50, 0, 60, 15] }, { word: "mild", box: [0, 0, 1, 1] }] },
] as const;

Deno.test("rows name the size of what lies on them, several where several do", () => {
  const targets = namingTargets(pictures, tiny), words = wordsOfSize.length;
  assertEquals(targets.length, 2 * 16 * words);
  const named = [...targets.keys()].filter((i) => targets[i] === 1)
    .map((i) => [Math.floor(i / words) - 16, wordsOfSize[i % words]]);
  assertEquals(named, [[0, "large"], [0, "mild"], [1, "large"], [2, "large"], [3, "large"]]);
});

Deno.test("rows that are their words cost little, rows that are other words much", async () => {
  const device = new HostDevice(), width = tiny.llama.hiddenSize;
  const p = await initialParameters(device, minigptParameters(tiny), 3);
  const tokens = [50, 51, 52, 53, 54], targets = namingTargets(pictures, tiny);
  // Embeddings as they come are small: a row is its word several times.
  const table = await p.weight("model.embed_tokens.weight").readFloats();
  const costs = async (turn: number) => {
    const rows = new Float32Array(targets.length / tokens.length * width);
    targets.forEach((target, i) => {
      const row = Math.floor(i / tokens.length), word = (i + turn) % tokens.length;
      for (let n = 0; target === 1 && n < width; n++) {
        rows[row * width + n]! += 20 * table[tokens[word]! * width + n]!;
      }
    });
    const loss = namingLoss(p, tensor(device, rows, [rows.length / width, width]), targets, tokens);
    return (await loss.readFloats())[0]!;
  };
  const [right, wrong] = [await costs(0), await costs(1)];
  assert(right < wrong / 3, `${right} and ${wrong}`);
});
