import { assertEquals } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { type Unary, unaryFunctions } from "../kernels/elementwise.ts";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { conv2d, convTranspose2d, patchEmbed } from "./conv.ts";
import { convGradients } from "./conv_gradient.ts";
import { checkGradients } from "./gradient_testing.ts";
import { tensor } from "./tensor.ts";

interface Case {
  x: [number, number, number, number];
  /** Output channels, kernel height, kernel width. */
  w: [number, number, number];
  stride?: number;
  padding?: number;
  groups?: number;
  bias?: boolean;
  activation?: Unary;
}

/** Every product of a pixel and a weight that belong together, in the form of a convolution of `one.x`. */
function eachProduct(
  { x: [batch, ci, h, wd], w: [co, kh, kw], stride = 1, padding = 0, groups = 1 }: Case,
  [oh, ow]: readonly [number, number],
  body: (x: number, w: number, y: number, n: number) => void,
): void {
  const per = ci / groups;
  for (let image = 0; image < batch; image++) {
    for (let n = 0; n < co; n++) {
      for (let c = 0; c < per; c++) {
        const channel = Math.floor(n / (co / groups)) * per + c;
        for (let i = 0; i < oh * ow * kh * kw; i++) {
          const kx = i % kw, ky = Math.floor(i / kw) % kh;
          const ox = Math.floor(i / kw / kh) % ow, oy = Math.floor(i / kw / kh / ow);
          const iy = oy * stride - padding + ky, ix = ox * stride - padding + kx;
          if (iy < 0 || ix < 0 || iy >= h || ix >= wd) continue;
          body(
            ((image * ci + channel) * h + iy) * wd + ix,
            ((n * per + c) * kh + ky) * kw + kx,
            ((image * co + n) * oh + oy) * ow + ox,
            n,
          );
        }
      }
    }
  }
}

function outputSize({ x: [, , h, w], w: [, kh, kw], stride = 1, padding = 0 }: Case) {
  return [
    Math.floor((h + 2 * padding - kh) / stride) + 1,
    Math.floor((w + 2 * padding - kw) / stride) + 1,
  ] as const;
}

/** The device with all cases, its other kernels with some of them. */
function portions(device: Device, cases: readonly Case[]): { device: Device; some: Case[] }[] {
  return variants(device).map(({ device }, order) => ({
    device,
    some: cases.filter((_, i) => order === 0 || i % 4 === order - 1),
  }));
}

const cases: Case[] = [
  { x: [1, 1, 1, 1], w: [1, 1, 1], bias: true },
  { x: [2, 3, 4, 5], w: [5, 3, 3], padding: 1, bias: true, activation: "relu" },
  { x: [3, 2, 5, 5], w: [17, 3, 3], padding: 1, stride: 2, bias: true },
  // The windows of the next two end before the input does.
  { x: [1, 3, 6, 8], w: [2, 3, 3], stride: 2, bias: true },
  { x: [2, 2, 7, 6], w: [3, 2, 2], stride: 4, activation: "gelu" },
  { x: [3, 5, 3, 4], w: [7, 1, 1], bias: true, activation: "sigmoid" },
  { x: [2, 3, 3, 3], w: [2, 1, 1], stride: 2 },
  { x: [2, 6, 4, 3], w: [4, 3, 2], groups: 2, padding: 1, bias: true, activation: "relu" },
  { x: [1, 5, 4, 4], w: [10, 3, 3], groups: 5, padding: 1, stride: 2 },
  { x: [1, 2, 2, 2], w: [3, 3, 3], padding: 2, bias: true, activation: "silu" },
  { x: [1, 1, 3, 9], w: [2, 1, 7], padding: 3 },
  // Enough pixels for sums image by image, without reordering.
  { x: [3, 2, 4, 5], w: [5, 1, 1] },
  { x: [2, 4, 4, 4], w: [6, 1, 1], groups: 2 },
  { x: [1, 33, 2, 3], w: [18, 2, 2] },
];

deviceTest("conv2d has the gradients of the direct sum", async (device) => {
  for (const { device: variant, some } of portions(device, cases)) {
    for (const one of some) {
      const { x, w, bias = false, activation, ...geometry } = one;
      const [oh, ow] = outputSize(one), plane = oh * ow;
      await checkGradients(variant, {
        what: JSON.stringify(one),
        inputs: {
          x: { shape: x },
          w: { shape: [w[0], x[1] / (one.groups ?? 1), w[1], w[2]] },
          ...(bias ? { b: { shape: [w[0]] } } : {}),
        },
        operation: ({ x, w, b }) =>
          conv2d(x, w, { ...geometry, ...(b && { bias: b }), ...(activation && { activation }) }),
        // deno-lint-ignore no-explicit-any
        reference({ x: values, w: weights, b }: any) {
          const y = Float64Array.from(
            { length: x[0] * w[0] * plane },
            (_, i) => b?.[Math.floor(i / plane) % w[0]] ?? 0,
          );
          eachProduct(one, [oh, ow], (i, k, j) => y[j]! += values[i] * weights[k]);
          return activation === undefined ? y : y.map(unaryFunctions[activation].host);
        },
        // A ReLU must not turn between the two sides of a difference.
        ...(activation === "relu" ? { step: 1e-6 } : {}),
      });
    }
  }
});

const transposedCases: Case[] = [
  { x: [1, 1, 1, 1], w: [1, 1, 1], bias: true },
  { x: [2, 3, 2, 3], w: [2, 2, 2], stride: 2, bias: true, activation: "gelu" },
  { x: [2, 5, 3, 2], w: [3, 4, 4], stride: 2, padding: 1, bias: true, activation: "relu" },
  { x: [1, 17, 3, 2], w: [3, 3, 3], padding: 1, bias: true },
  { x: [3, 2, 3, 3], w: [5, 3, 3], stride: 2, padding: 1 },
  { x: [1, 2, 2, 5], w: [1, 5, 3], stride: 3, padding: 1 },
  { x: [1, 3, 4, 4], w: [2, 2, 2], stride: 3 },
  { x: [2, 3, 5, 2], w: [7, 1, 1], activation: "tanh" },
  { x: [2, 3, 4, 5], w: [1, 2, 2], stride: 2 },
];

deviceTest("convTranspose2d has the gradients of scattering", async (device) => {
  for (const { device: variant, some } of portions(device, transposedCases)) {
    for (const one of some) {
      const { x: [batch, ci, h, wd], w: [co, kh, kw], bias = false, activation, ...rest } = one;
      const { stride = 1, padding = 0 } = rest;
      const oh = (h - 1) * stride - 2 * padding + kh, ow = (wd - 1) * stride - 2 * padding + kw;
      // The convolution that this one is the adjoint of.
      const adjoint: Case = { x: [batch, co, oh, ow], w: [ci, kh, kw], stride, padding };
      await checkGradients(variant, {
        what: `transposed ${JSON.stringify(one)}`,
        inputs: {
          x: { shape: one.x },
          w: { shape: [ci, co, kh, kw] },
          ...(bias ? { b: { shape: [co] } } : {}),
        },
        operation: ({ x, w, b }) =>
          convTranspose2d(x, w, {
            ...rest,
            ...(b && { bias: b }),
            ...(activation && { activation }),
          }),
        // deno-lint-ignore no-explicit-any
        reference({ x, w, b }: any) {
          const y = Float64Array.from(
            { length: batch * co * oh * ow },
            (_, i) => b?.[Math.floor(i / oh / ow) % co] ?? 0,
          );
          eachProduct(adjoint, [h, wd], (to, k, from) => y[to]! += x[from] * w[k]);
          return activation === undefined ? y : y.map(unaryFunctions[activation].host);
        },
        ...(activation === "relu" ? { step: 1e-6 } : {}),
      });
    }
  }
});

deviceTest("patchEmbed has the gradients of its convolution", async (device) => {
  for (
    const [x, patch, n] of [
      [[1, 1, 2, 2], 2, 1],
      [[2, 3, 4, 6], 2, 5],
      [[3, 1, 7, 11], 3, 4],
      [[1, 2, 9, 8], 4, 17],
    ] as [Case["x"], number, number][]
  ) {
    const one: Case = { x, w: [n, patch, patch], stride: patch };
    const [oh, ow] = outputSize(one), tokens = oh * ow;
    await checkGradients(device, {
      what: `patches ${patch} of [${x}]`,
      inputs: {
        x: { shape: x },
        w: { shape: [n, x[1] * patch * patch] },
        b: { shape: [n] },
      },
      operation: ({ x, w, b }) => patchEmbed(x, w, b, patch),
      reference({ x: values, w, b }) {
        const y = Float64Array.from({ length: x[0] * tokens * n }, (_, i) => b[i % n]!);
        eachProduct(one, [oh, ow], (i, k, j, channel) => {
          const image = Math.floor(j / tokens / n);
          y[(image * tokens + j % tokens) * n + channel]! += values[i]! * w[k]!;
        });
        return y;
      },
    });
  }
});

deviceTest("weight gradients come out the same in pieces and every time", async (device) => {
  const [batch, ci, co, side] = [5, 6, 4, 7];
  for (const groups of [1, 2]) {
    const shape = [co, ci / groups, 3, 3];
    const x = tensor(device, normals(batch * ci * side * side, 1), [batch, ci, side, side]);
    const weight = tensor(device, normals(co * ci * 9 / groups, 2), shape);
    const gradient = tensor(device, normals(batch * co * 16, 3), [batch, co, 4, 4]);
    const step = { x, weight, y: x, relu: false, stride: 2, padding: 1, groups };
    const at = async (words?: number) => {
      using scope = device.scope();
      const [dx, dw] = convGradients(step, gradient, [false, true, false], words);
      assertEquals(dx, undefined);
      return await scope.keep(dw!).readFloats();
    };
    const all = await at();
    assertEquals(await at(), all);
    // Two images, one image, two channels and one channel at a time.
    for (const words of [2 * ci * 9 * 16, ci * 9 * 16, 2 * groups * 9 * 16, 1]) {
      assertCloseTo(await at(words), all, { atol: 1e-4, what: `${groups} groups, ${words} words` });
    }
    for (const one of [x, weight, gradient]) one.dispose();
  }
});
