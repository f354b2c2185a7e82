import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError } from "@medvlm/core";
import { raster } from "@medvlm/core/image";
import { loadLlamaTokenizer } from "@medvlm/core/text";
import { openFolder } from "../../core/files.ts";
import { inContextConfig } from "./icl_testing.ts";
import {
  encoderMask,
  exampleInputs,
  inContextQuestion,
  overlayMask,
  prepareInContext,
} from "./in_context.ts";
import { clipInput } from "./preprocess.ts";
import { imagePlaceholder, medplibPrompt } from "./prompt.ts";

const golden = new URL("../../tests/golden/medplib/tokenizer/tokenizer", import.meta.url).pathname;
const tokenizer = await loadLlamaTokenizer(await openFolder(golden), { behaviour: "4.31-legacy" });

const grey = raster(3, 2, 1, Uint8Array.from([0, 50, 100, 150, 200, 255]));
const mask = { width: 3, height: 2, data: Uint8Array.from([0, 1, 0, 0, 0, 9]) };

Deno.test("an overlay blends the mask's pixels with light blue and cuts the fraction", () => {
  const { width, height, channels, data } = overlayMask(grey, mask);
  assertEquals([width, height, channels], [3, 2, 3]);
  // 0.45 * 50 + 0.55 * (118, 158, 224) = (87.4, 109.4, 145.7); 0.45 * 255 = 114.75.
  assertEquals([...data.subarray(3, 6)], [87, 109, 145]);
  assertEquals([...data.subarray(15, 18)], [179, 201, 237]);
  assertEquals([...data.subarray(6, 9)], [100, 100, 100]);
  assertEquals([...data.subarray(0, 3)], [0, 0, 0]);
});

Deno.test("the mask encoder sees thin masks, centred", () => {
  const thin = { width: 20, height: 10, data: new Uint8Array(200) };
  thin.data[5 * 20 + 10] = 1;
  const plane = encoderMask(thin, 8);
  assertEquals(plane.length, 64);
  const inside = [...plane].flatMap((value, i) => value === 0 ? [] : [i]);
  assert(inside.length > 0);
  // Four of eight rows are padding.
  assert(inside.every((i) => Math.floor(i / 8) >= 2 && Math.floor(i / 8) < 6));
  assert(plane.every((value) => value === 0 || value === 1));
});

Deno.test("an example is one input or two, the mask as a plane or as a picture", () => {
  const { clip: { imageSize: side } } = inContextConfig;
  const example = { image: grey, mask };
  const [overlay, ...rest] = exampleInputs(example, inContextConfig, "overlay");
  assertEquals(rest, []);
  assertEquals(overlay, { kind: "image", pixels: clipInput(overlayMask(grey, mask), side).data });
  const [picture, plane] = exampleInputs(example, inContextConfig, "separate");
  assertEquals(picture, { kind: "image", pixels: clipInput(grey, side).data });
  assertEquals(plane, { kind: "mask", plane: encoderMask(mask, side) });
  const without = { ...inContextConfig, maskTokens: undefined };
  const white = raster(3, 2, 1, Uint8Array.from([0, 255, 0, 0, 0, 255]));
  assertEquals(exampleInputs(example, without, "separate")[1], {
    kind: "image",
    pixels: clipInput(white, side).data,
  });
  // A mask of twice the size is read at every second row and column.
  const large = { width: 6, height: 4, data: new Uint8Array(24) };
  mask.data.forEach((value, i) => large.data[12 * Math.floor(i / 3) + 2 * (i % 3)] = value);
  assertEquals(
    exampleInputs({ image: grey, mask: large }, inContextConfig, "overlay"),
    [overlay],
  );
});

Deno.test("the text has one placeholder for every input", () => {
  const count = (text: string) => text.split("<image>").length - 1;
  for (const n of [1, 2, 3]) {
    assertEquals(count(inContextQuestion(n, "overlay")), n + 1);
    assertEquals(count(inContextQuestion(n, "separate")), 2 * n + 1);
  }
  assert(inContextQuestion(2, "overlay", "Find the liver.").endsWith("<image>\nFind the liver."));
  const own = "<image> shows it. Where is it in <image>?";
  assertEquals(inContextQuestion(1, "overlay", own), own);
  assertThrows(() => inContextQuestion(1, "separate", own), InputError, "2 <image> for 3 inputs");
  const prompt = medplibPrompt({ question: own, placement: "in-place" });
  assert(prompt.includes(
    "USER: <im_start><image><im_end> shows it. Where is it in <im_start><image><im_end>? ASSISTANT:",
  ));
});

Deno.test("a request with examples has its inputs in the order of the placeholders", () => {
  const examples = [{ image: grey, mask }, { image: grey, mask }];
  const request = { image: grey, examples, mode: "separate" } as const;
  const prepared = prepareInContext(request, tokenizer, inContextConfig);
  assertEquals(prepared.ids.filter((id) => id === imagePlaceholder).length, 5);
  assertEquals(prepared.inputs!.map(({ kind }) => kind), [
    "image",
    "mask",
    "image",
    "mask",
    "image",
  ]);
  assertEquals(prepared.inputs!.at(-1), { kind: "image", pixels: prepared.clipPixels });
  assertEquals([prepared.alwaysMask, prepared.original], [true, { width: 3, height: 2 }]);
  for (const some of [[], [...examples, ...examples]]) {
    assertThrows(
      () => prepareInContext({ image: grey, examples: some }, tokenizer, inContextConfig),
      InputError,
      "give 1 to 3",
    );
  }
  const nothing = { image: grey, mask: { ...mask, data: new Uint8Array(6) } };
  assertThrows(
    () => prepareInContext({ image: grey, examples: [nothing] }, tokenizer, inContextConfig),
    InputError,
    "its mask is empty",
  );
});
