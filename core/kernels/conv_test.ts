import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { conv2d, type ConvOptions, convTranspose2d, patchEmbed } from "../tensor/conv.ts";
import { tensor } from "../tensor/tensor.ts";
import { type Unary, unaryFunctions } from "./elementwise.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { variants } from "./variant_testing.ts";

interface Case extends Pick<ConvOptions, "stride" | "padding" | "groups" | "activation"> {
  x: [number, number, number, number];
  /** Output channels, kernel height, kernel width. */
  w: [number, number, number];
  bias?: boolean;
}

function reference(x: Float32Array, w: Float32Array, b: Float32Array | undefined, one: Case) {
  const [batch, ci, h, wd] = one.x, [co, kh, kw] = one.w;
  const { stride = 1, padding = 0, groups = 1, activation } = one;
  const oh = Math.floor((h + 2 * padding - kh) / stride) + 1;
  const ow = Math.floor((wd + 2 * padding - kw) / stride) + 1;
  const y = new Float64Array(batch * co * oh * ow), per = ci / groups;
  for (let i = 0; i < y.length; i++) {
    const ox = i % ow, oy = Math.floor(i / ow) % oh, n = Math.floor(i / ow / oh) % co;
    const image = Math.floor(i / ow / oh / co), first = Math.floor(n / (co / groups)) * per;
    let sum = b?.[n] ?? 0;
    for (let c = 0; c < per; c++) {
      for (let ky = 0; ky < kh; ky++) {
        for (let kx = 0; kx < kw; kx++) {
          const iy = oy * stride - padding + ky, ix = ox * stride - padding + kx;
          if (iy < 0 || ix < 0 || iy >= h || ix >= wd) continue;
          sum += w[((n * per + c) * kh + ky) * kw + kx]! *
            x[((image * ci + first + c) * h + iy) * wd + ix]!;
        }
      }
    }
    y[i] = activation === undefined ? sum : unaryFunctions[activation].host(sum);
  }
  return { y, shape: [batch, co, oh, ow] };
}

/** By scattering: the definition that the gathering kernels do not use. */
function transposedReference(
  x: Float32Array,
  w: Float32Array,
  b: Float32Array | undefined,
  one: Case,
) {
  const [batch, ci, h, wd] = one.x, [co, kh, kw] = one.w;
  const { stride = 1, padding = 0, activation } = one;
  const oh = (h - 1) * stride - 2 * padding + kh, ow = (wd - 1) * stride - 2 * padding + kw;
  const y = new Float64Array(batch * co * oh * ow);
  y.forEach((_, i) => y[i] = b?.[Math.floor(i / oh / ow) % co] ?? 0);
  x.forEach((value, i) => {
    const ix = i % wd, iy = Math.floor(i / wd) % h, c = Math.floor(i / wd / h) % ci;
    const image = Math.floor(i / wd / h / ci);
    for (let n = 0; n < co; n++) {
      for (let ky = 0; ky < kh; ky++) {
        for (let kx = 0; kx < kw; kx++) {
          const oy = iy * stride - padding + ky, ox = ix * stride - padding + kx;
          if (oy < 0 || ox < 0 || oy >= oh || ox >= ow) continue;
          y[((image * co + n) * oh + oy) * ow + ox]! += value *
            w[((c * co + n) * kh + ky) * kw + kx]!;
        }
      }
    }
  });
  return {
    y: activation === undefined ? y : y.map(unaryFunctions[activation].host),
    shape: [batch, co, oh, ow],
  };
}

const cases: Case[] = [
  { x: [1, 1, 1, 1], w: [1, 1, 1] },
  { x: [1, 1, 5, 5], w: [1, 3, 3], bias: true },
  { x: [2, 3, 7, 9], w: [5, 3, 3], padding: 1, bias: true, activation: "relu" },
  { x: [1, 8, 16, 16], w: [16, 3, 3], padding: 1 },
  { x: [1, 7, 15, 17], w: [17, 3, 3], padding: 1, stride: 2 },
  { x: [1, 6, 8, 8], w: [9, 1, 1], bias: true, activation: "gelu" },
  { x: [3, 33, 5, 3], w: [31, 1, 1], stride: 2 },
  { x: [1, 4, 9, 11], w: [6, 2, 2], stride: 2, activation: "silu" },
  { x: [1, 5, 12, 12], w: [4, 5, 3], padding: 2, stride: 3 },
  { x: [1, 8, 10, 10], w: [8, 3, 3], groups: 8, padding: 1, bias: true },
  { x: [2, 12, 9, 9], w: [18, 3, 3], groups: 3, padding: 1, stride: 2 },
  { x: [1, 2, 20, 21], w: [3, 9, 11], padding: 4, bias: true, activation: "tanh" },
  { x: [1, 1, 3, 40], w: [2, 3, 40], padding: 1 },
  { x: [1, 16, 33, 31], w: [64, 3, 3], padding: 1 },
  { x: [1, 64, 8, 8], w: [65, 3, 3], padding: 1, bias: true },
  { x: [1, 3, 2, 2], w: [4, 3, 3], padding: 3, bias: true, activation: "sigmoid" },
  { x: [1, 4, 130, 67], w: [8, 7, 7], padding: 3, stride: 2 },
  { x: [4, 2, 1, 13], w: [32, 1, 5], padding: 0, stride: 1 },
  { x: [1, 10, 6, 64], w: [38, 1, 3], groups: 2, padding: 1 },
  { x: [1, 40, 64, 64], w: [16, 3, 3], padding: 1, bias: true, activation: "quickGelu" },
  { x: [1, 2, 4, 4], w: [1, 2, 2], padding: 1, stride: 5 },
  { x: [1, 5, 9, 10], w: [20, 3, 2], padding: 1, stride: 2, bias: true },
  // Enough for the large tiles of a GPU.
  { x: [1, 1, 130, 130], w: [64, 2, 2], bias: true },
];

function make(one: Case, seed: number) {
  const [batch, ci, h, wd] = one.x, [co, kh, kw] = one.w;
  const per = ci / (one.groups ?? 1);
  return {
    x: normals(batch * ci * h * wd, seed),
    w: normals(co * per * kh * kw, seed + 1).map((v) => v / Math.sqrt(per * kh * kw)),
    b: one.bias ? normals(co, seed + 2) : undefined,
    per,
  };
}

/** The device with all cases, and its other kernels (those of GPUs, those without subgroups) with some of them. */
function portions<T>(device: Device, all: readonly T[]): { device: Device; some: readonly T[] }[] {
  const steps: Record<string, number> = {
    [device.kind]: 1,
    "gpu": 2,
    "software without subgroups": 5,
  };
  return variants(device).filter(({ name }) => name in steps).map(({ name, device }) => ({
    device,
    some: all.filter((_, i) => i % steps[name]! === 0),
  }));
}

deviceTest("conv2d equals the direct sum", async (host) => {
  for (const { device, some } of portions(host, cases)) {
    for (const [seed, one] of some.entries()) {
      const { x, w, b, per } = make(one, seed);
      using scope = device.scope();
      const weight = tensor(device, w, [one.w[0], per, one.w[1], one.w[2]]);
      const y = conv2d(tensor(device, x, one.x), weight, {
        ...one,
        ...(b === undefined ? {} : { bias: tensor(device, b) }),
      } as ConvOptions);
      const expected = reference(x, w, b, one);
      assertEquals(y.shape, expected.shape);
      assertCloseTo(await scope.keep(y).readFloats(), expected.y, { what: JSON.stringify(one) });
      y.dispose();
    }
  }
});

const transposed: Case[] = [
  { x: [1, 1, 1, 1], w: [1, 1, 1] },
  { x: [1, 3, 4, 5], w: [2, 2, 2], stride: 2, bias: true, activation: "gelu" },
  { x: [2, 5, 8, 8], w: [7, 4, 4], stride: 2, padding: 1 },
  { x: [1, 4, 7, 6], w: [9, 3, 3], bias: true },
  { x: [1, 4, 7, 6], w: [9, 3, 3], padding: 1, bias: true, activation: "relu" },
  { x: [1, 3, 5, 5], w: [17, 3, 3], stride: 2, padding: 1 },
  { x: [1, 2, 3, 9], w: [4, 5, 3], stride: 3, padding: 1 },
  { x: [1, 6, 4, 4], w: [3, 2, 2], stride: 3 },
  { x: [1, 1, 2, 2], w: [1, 9, 17], stride: 2, padding: 3 },
  { x: [1, 64, 8, 8], w: [32, 4, 4], stride: 2, padding: 1 },
  { x: [1, 32, 16, 17], w: [16, 2, 2], stride: 2, bias: true },
  { x: [3, 2, 1, 6], w: [5, 1, 7], padding: 0 },
  { x: [1, 8, 33, 31], w: [8, 4, 4], stride: 4 },
  { x: [1, 3, 5, 6], w: [20, 3, 3], stride: 2, padding: 1, bias: true },
  // Enough for the large tiles of a GPU.
  { x: [1, 1, 64, 64], w: [64, 2, 2], stride: 2 },
];

deviceTest("convTranspose2d equals scattering", async (host) => {
  for (const { device, some } of portions(host, transposed)) {
    for (const [seed, one] of some.entries()) {
      const { x, b } = make(one, seed);
      const [, ci] = one.x, [co, kh, kw] = one.w;
      const w = normals(ci * co * kh * kw, seed + 9).map((v) => v / Math.sqrt(ci));
      using scope = device.scope();
      const y = convTranspose2d(tensor(device, x, one.x), tensor(device, w, [ci, co, kh, kw]), {
        ...one,
        ...(b === undefined ? {} : { bias: tensor(device, b) }),
      } as ConvOptions);
      const expected = transposedReference(x, w, b, one);
      assertEquals(y.shape, expected.shape);
      assertCloseTo(await scope.keep(y).readFloats(), expected.y, { what: JSON.stringify(one) });
      y.dispose();
    }
  }
});

deviceTest("patchEmbed is a convolution with tokens last", async (device) => {
  for (
    const [batch, channels, height, width, patch, width2] of [
      [1, 3, 28, 28, 14, 33],
      [2, 3, 33, 47, 16, 8],
      [1, 1, 4, 4, 2, 1],
      [1, 3, 64, 96, 8, 64],
      [1, 2, 9, 7, 3, 5],
    ] as const
  ) {
    const one: Case = {
      x: [batch, channels, height, width],
      w: [width2, patch, patch],
      stride: patch,
    };
    const { x, w, b } = make({ ...one, bias: true }, patch);
    const { y, shape } = reference(x, w, b, one);
    const tokens = shape[2]! * shape[3]!;
    using scope = device.scope();
    const actual = patchEmbed(
      tensor(device, x, one.x),
      tensor(device, w, [width2, channels * patch * patch]),
      tensor(device, b!),
      patch,
    );
    assertEquals(actual.shape, [batch, tokens, width2]);
    const expected = y.map((_, i) => {
      const n = i % width2,
        t = Math.floor(i / width2) % tokens,
        image = Math.floor(i / width2 / tokens);
      return y[(image * width2 + n) * tokens + t]!;
    });
    assertCloseTo(await scope.keep(actual).readFloats(), expected, { what: `patch ${patch}` });
  }
});

deviceTest("convolutions stay finite at the extremes, reuse memory and replay", async (device) => {
  const shape = [1, 4, 8, 8];
  const x = tensor(device, new Float32Array(256).fill(1e18), shape);
  const w = tensor(device, new Float32Array(4 * 4 * 9).fill(-1e18), [4, 4, 3, 3]);
  const sums = await conv2d(x, w, { padding: 1, activation: "sigmoid" as Unary }).readFloats();
  assertEquals(sums.every((value) => value === 0), true);

  const run = () => conv2d(x, w, { padding: 1, stride: 2 });
  {
    using _ = device.scope();
    run();
  }
  const { created } = device.memory;
  {
    using _ = device.scope();
    run();
  }
  assertEquals(device.memory.created, created);

  let y = x;
  using recording = device.record(() => {
    y = run();
  });
  const input = normals(256, 5), weight = normals(144, 6);
  x.write(input);
  w.write(weight);
  recording.replay();
  const one: Case = { x: [1, 4, 8, 8], w: [4, 3, 3], padding: 1, stride: 2 };
  assertCloseTo(await y.readFloats(), reference(input, weight, undefined, one).y);
});

deviceTest("shapes that do not fit are refused", (device) => {
  const x = tensor(device, new Float32Array(75), [1, 3, 5, 5]);
  const w = tensor(device, new Float32Array(4 * 3 * 49), [4, 3, 7, 7]);
  assertThrows(() => conv2d(x, w), RangeError, "larger than the input");
  assertThrows(() => conv2d(x, w, { groups: 3 }), RangeError, "[4, 3, 7, 7]");
  assertThrows(() => conv2d(x, w, { padding: 1.5 }), RangeError, "padding 1.5");
  assertThrows(() => conv2d(x, w, { padding: 1, stride: 0 }), RangeError, "stride 0");
  assertThrows(
    () => conv2d(x, w, { padding: 1, bias: tensor(device, [1, 2]) }),
    RangeError,
    "expected [4]",
  );
  assertThrows(() => convTranspose2d(x, w), RangeError, "[Ci, Co, kh, kw]");
  assertThrows(() => patchEmbed(x, w, undefined, 2), RangeError, "patches");
  return Promise.resolve();
});
