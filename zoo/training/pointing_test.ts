import { assertAlmostEquals, assertEquals } from "@std/assert";
import type { Box } from "@medvlm/core";
import { HostDevice } from "@medvlm/core/device";
import {
  madeFiles,
  madeTokenizer,
  minigptSample,
  sharedMinigptBatch,
  tiny,
} from "@medvlm/core/minigpt";
import { tensor } from "@medvlm/core/tensor";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { familyLessons, teachBase } from "./minigpt_lessons.ts";
import { answerRows, coordinatesOf, pointingLoss, pointingOf, pointingStates } from "./pointing.ts";

Deno.test("digits belong to the coordinate that the last bracket has opened", () => {
  const pieces = ["▁", "{", "<", "4", "5", "><", "7", "><", "1", "0", "0", "><", "63", ">", "}"];
  const none = undefined;
  assertEquals(
    coordinatesOf(pieces),
    [none, none, none, 0, 0, none, 1, none, 2, 2, 2, none, 3, none, none],
  );
  assertEquals(coordinatesOf(["4", "<5"]), [none, none]);
});

Deno.test("states point at what the box covers, then at the rows of its four edges", async () => {
  const config = { ...tiny, vision: { ...tiny.vision, imageSize: 112 } };
  const tokenizer = await madeTokenizer(madeFiles(config)), side = 8, inRow = 4;
  const samples = [0, 1, 2].flatMap((n) => {
    const phantom = chestPhantom({
      ...{ size: 96, seed: 7, index: splitIndex("train", n) },
      prevalence: { normal: 0, each: 0.8 },
    });
    const { image } = phantom, pixels = new Float32Array(3).fill(n);
    return familyLessons(phantom).filter(([kind]) => kind === "thing" || kind === "phrase")
      .map(([, lesson]) => {
        const { prompt, answer } = teachBase({ ...lesson, image });
        const sample = minigptSample(tokenizer, prompt, answer, pixels);
        return { sample, image, picture: n, shows: lesson.shows!, boxed: true };
      });
  });
  const batch = sharedMinigptBatch(samples.map(({ sample }) => sample), tokenizer, config);
  const { rows, targets, weights } = pointingOf(
    pointingStates(samples, answerRows(samples, batch), tokenizer, config),
    config,
  )!;
  const perPicture = side * side / inRow, all = 3 * perPicture;
  assertEquals(targets.length, rows.length * all);
  let n = 0;
  samples.forEach(({ sample, picture, shows: [box] }) => {
    const [x1, y1, x2, y2] = box!;
    const line = (y: number) => Math.floor(y * side / 96);
    const group = (x: number) => Math.floor(Math.floor(x * side / 96) / inRow);
    const covered = (left: number, top: number, right: number, bottom: number) => {
      const at = new Set<number>();
      for (let y = line(top); y <= line(bottom); y++) {
        for (let x = group(left); x <= group(right); x++) {
          at.add(picture * perPicture + y * (side / inRow) + x);
        }
      }
      return [...at].sort((a, b) => a - b);
    };
    const [right, bottom] = [x2 - 1, y2 - 1];
    const edges = [
      covered(x1, y1, x1, bottom),
      covered(x1, y1, right, y1),
      covered(right, y1, right, bottom),
      covered(x1, bottom, right, bottom),
    ];
    const pieces = sample.answer.map((id) => tokenizer.idToToken(id));
    const wanted = [
      covered(x1, y1, right, bottom),
      ...coordinatesOf(pieces).filter((one) => one !== undefined).map((one) => edges[one]!),
    ];
    for (const at of wanted) {
      const own = targets.subarray(n * all, (n + 1) * all);
      assertEquals([...own.keys()].filter((i) => own[i] === 1), at);
      const weight = weights.subarray(n * all, (n + 1) * all);
      assertAlmostEquals(weight.reduce((sum, one) => sum + one), all, 1e-2);
      const elsewhere = [...weight.keys()].filter((i) => Math.floor(i / perPicture) !== picture);
      assertEquals(elsewhere.every((i) => weight[i] === 0), true);
      n++;
    }
  });
  assertEquals(n, rows.length);
});

Deno.test("questions point at all they ask for, at nothing where that is absent, and not at all about the whole", async () => {
  const tokenizer = await madeTokenizer(madeFiles(tiny)), pixels = new Float32Array(3);
  const { image } = chestPhantom({ size: 112, seed: 1, index: 0 });
  const { prompt } = teachBase({
    prompt: "Is it?",
    answer: "yes",
    image,
    task: "vqa",
  });
  const sample = minigptSample(tokenizer, prompt, "yes", pixels);
  const shown = (...all: (readonly Box[] | undefined)[]) => {
    const samples = all.map((shows) => ({ sample, image, picture: 0, shows, boxed: false }));
    const batch = sharedMinigptBatch(samples.map(({ sample }) => sample), tokenizer, tiny);
    return pointingOf(pointingStates(samples, answerRows(samples, batch), tokenizer, tiny), tiny);
  };
  // 8 x 2 rows of 14 x 56 pixels.
  const { rows, targets, weights } = shown([[0, 0, 14, 14], [57, 15, 58, 16]], undefined, [])!;
  assertEquals(rows.length, 2);
  assertEquals([...targets.subarray(0, 16).keys()].filter((i) => targets[i] === 1), [0, 3]);
  assertEquals(new Set(targets.subarray(16)), new Set([0]));
  assertEquals(new Set(weights.subarray(16)), new Set([1]));
  assertEquals(shown(undefined), undefined);
});

Deno.test("a state that is the row it should point at costs little, another one much", async () => {
  const device = new HostDevice();
  const pictures = tensor(device, Float32Array.of(4, 0, 0, 4), [2, 2]);
  const pointer = tensor(device, Float32Array.of(1, 0, 0, 1), [2, 2]);
  const costs = async (state: number[]) => {
    const hidden = tensor(device, Float32Array.from([9, 9, ...state]), [2, 2]);
    const pointing = {
      rows: Int32Array.of(1),
      targets: Float32Array.of(1, 0),
      weights: Float32Array.of(1, 1),
    };
    return (await pointingLoss(pointing, hidden, pictures, pointer).readFloats())[0]!;
  };
  // Logits are the products less 2.
  const softplus = (x: number) => Math.log(1 + Math.exp(x));
  assertAlmostEquals(await costs([2, -2]), (softplus(-6) + softplus(-10)) / 2, 1e-5);
  assertAlmostEquals(await costs([-2, 2]), (softplus(10) + softplus(6)) / 2, 1e-5);
});
