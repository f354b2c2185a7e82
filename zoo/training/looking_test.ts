import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  decodeBatch,
  embedBatch,
  madeFiles,
  madeTokenizer,
  minigptParameters,
  minigptSample,
  sharedMinigptBatch,
  tiny,
} from "@medvlm/core/minigpt";
import { HostDevice } from "@medvlm/core/device";
import { initialParameters, sharedPositions } from "@medvlm/core/nn";
import { type Tensor, tensor } from "@medvlm/core/tensor";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { lookingLoss, lookingOf } from "./looking.ts";
import { familyLessons, teachBase } from "./minigpt_lessons.ts";
import { answerRows, type PointingSample, pointingStates } from "./pointing.ts";

const config = { ...tiny, vision: { ...tiny.vision, imageSize: 112 } };
const tokenizer = await madeTokenizer(madeFiles(config));
const width = config.llama.hiddenSize, perPicture = 16;

/** Boxes of three phantoms. */
function samples(): PointingSample[] {
  return [0, 1, 2].flatMap((picture) => {
    const phantom = chestPhantom({
      ...{ size: 96, seed: 7, index: splitIndex("train", picture) },
      prevalence: { normal: 0, each: 0.8 },
    });
    const { image } = phantom, pixels = new Float32Array(3).fill(picture);
    return familyLessons(phantom).filter(([kind]) => kind === "phrase").map(([, lesson]) => {
      const { prompt, answer } = teachBase({ ...lesson, image });
      const sample = minigptSample(tokenizer, prompt, answer, pixels);
      return { sample, image, picture, shows: lesson.shows!, boxed: true };
    });
  });
}

Deno.test("a head per coordinate looks at the rows of the edge in its own picture, which it can see", () => {
  const some = samples();
  const batch = sharedMinigptBatch(some.map(({ sample }) => sample), tokenizer, config);
  const states = pointingStates(some, answerRows(some, batch), tokenizer, config);
  const heads = lookingOf(states, batch, config)!;
  assertEquals(heads.length, config.llama.heads);
  const { source, tokens, prefixes, length } = batch, all = source.length;
  heads.forEach(({ rows, seen: seenBy, edge, one }, head) => {
    const own = states.filter(({ coordinate }) => coordinate === head);
    assertEquals([...rows], own.map(({ row }) => row));
    own.forEach(({ row, picture, at }, n) => {
      const [seen, shown] = [seenBy, edge].map((mask) => mask.subarray(n * all, (n + 1) * all));
      const wanted = [...shown!.keys()].filter((r) => shown![r] === 0);
      assert(wanted.includes(one[n]!) && wanted.every((r) => seen![r] === 0));
      assertEquals(
        wanted.map((r) => source[r]! - tokens.length - picture * perPicture),
        at.toSorted((a, b) => a - b),
      );
      const first = prefixes!.count * prefixes!.rows;
      assertEquals(
        seen!.filter((one) => one === 0).length,
        prefixes!.rows + 1 + (row - first) % length,
      );
      assertEquals([seen![row], seen![row + 1] === 0], [0, false]);
    });
  });
  assertEquals(
    lookingOf(states.filter((one) => one.coordinate === undefined), batch, config),
    undefined,
  );
  const { prefixes: _, ...apart } = batch;
  assertThrows(() => lookingOf(states, apart, config), RangeError, "shares no beginnings");
});

Deno.test("the loss is that of the share which an edge has of the layer's own attention, in double precision", async () => {
  const device = new HostDevice(), some = samples().slice(0, 2), layer = 1;
  const p = await initialParameters(device, minigptParameters(config), 3);
  const batch = sharedMinigptBatch(some.map(({ sample }) => sample), tokenizer, config);
  const looking = lookingOf(
    pointingStates(some, answerRows(some, batch), tokenizer, config),
    batch,
    config,
  )!;
  const pictures = tensor(
    device,
    Float32Array.from({ length: perPicture * width }, (_, i) => Math.sin(i)),
    [perPicture, width],
  );
  let states: Tensor | undefined;
  const use = (x: Tensor) => states = x;
  decodeBatch(p, embedBatch(p, batch, pictures), batch, config, { states: { before: layer, use } });
  const loss = await lookingLoss(p, looking, batch, states!, config, layer).readFloats();
  const x = await states!.readFloats();
  const weights = async (name: string) =>
    await p.weight(`model.layers.${layer}.${name}.weight`).readFloats();
  const norm = await p.tensor(`model.layers.${layer}.input_layernorm.weight`).readFloats();
  const [wq, wk] = [await weights("self_attn.q_proj"), await weights("self_attn.k_proj")];
  const positions = sharedPositions(batch.prefixes, batch.size, batch.length);
  const { heads, theta, epsilon } = config.llama, size = width / heads;
  const normed = (row: number) => {
    const own = Array.from(x.subarray(row * width, (row + 1) * width));
    const rms = Math.sqrt(own.reduce((sum, one) => sum + one * one, 0) / width + epsilon);
    return own.map((one, i) => one / rms * norm[i]!);
  };
  const turned = (w: ArrayLike<number>, row: number, head: number) => {
    const own = normed(row);
    const raw = Array.from(
      { length: size },
      (_, i) => own.reduce((sum, one, j) => sum + one * w[(head * size + i) * width + j]!, 0),
    );
    return raw.map((one, i) => {
      const half = size / 2, angle = positions[row]! * theta ** (-(i % half) / half);
      const other = i < half ? -raw[i + half]! : raw[i - half]!;
      return one * Math.cos(angle) + other * Math.sin(angle);
    });
  };
  const means = looking.map(({ rows, seen, edge }, head) => {
    const each = Array.from(rows, (row, n) => {
      const q = turned(wq, row, head), all = batch.source.length;
      const weights = Array.from(
        { length: all },
        (_, r) =>
          seen[n * all + r] === 0
            ? Math.exp(
              turned(wk, r, head).reduce((sum, one, i) => sum + one * q[i]!, 0) / Math.sqrt(size),
            )
            : 0,
      );
      const sum = (some: number[]) => some.reduce((sum, one) => sum + one, 0);
      return -Math.log(sum(weights.filter((_, r) => edge[n * all + r] === 0)) / sum(weights));
    });
    return each.reduce((sum, one) => sum + one, 0) / each.length;
  });
  assertAlmostEquals(loss[0]!, means.reduce((sum, one) => sum + one, 0) / heads, 1e-4);
});
