import { assertEquals, assertThrows } from "@std/assert";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { checkGradients } from "./gradient_testing.ts";
import { diceLoss, iouLoss, pixelLoss, type PixelLossOptions } from "./loss_masks.ts";
import { diceFocalLoss, weightedSum } from "./loss_sum.ts";
import { differentiate } from "./tape.ts";
import { tensor } from "./tensor.ts";

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const targetsOf = (count: number) => Float32Array.from({ length: count }, (_, i) => i * 5 % 7 % 2);

/** The definitions as the papers write them, in probabilities. */
function pixel(x: number, t: number, { form, gamma = 2, alpha }: PixelLossOptions): number {
  const p = sigmoid(x), tiny = form === "probabilityFocal" ? 1e-12 : 0;
  const yes = -Math.log(p + tiny), no = -Math.log(1 - p + tiny);
  const [hardYes, hardNo] = form === "bce" ? [1, 1] : [(1 - p) ** gamma, p ** gamma];
  return (alpha ?? 1) * t * hardYes * yes +
    (alpha === undefined ? 1 : 1 - alpha) * (1 - t) * hardNo * no;
}

function means(losses: ArrayLike<number>, length: number): number[] {
  return Array.from(
    { length: losses.length / length },
    (_, row) =>
      Array.from({ length }, (_, i) => losses[row * length + i]!).reduce((a, b) => a + b) / length,
  );
}

const forms: readonly PixelLossOptions[] = [
  { form: "bce" },
  { form: "focal" },
  { form: "focal", alpha: 0.85 },
  { form: "focal", gamma: 0.5, alpha: 0 },
  { form: "focal", gamma: 0, alpha: 0.25 },
  { form: "probabilityFocal", alpha: 0.25 },
  { form: "probabilityFocal", gamma: 1.5 },
  { form: "probabilityFocal", gamma: 1 },
];

deviceTest("losses of predictions and their gradients equal their definitions", async (device) => {
  for (const options of forms) {
    for (const [shape, mean] of [[[1], 0], [[67], 0], [[2, 3, 5], 2], [[3, 67], 1]] as const) {
      for (const known of [true, false]) {
        const count = shape.reduce((product: number, extent) => product * extent, 1);
        const length = shape.slice(shape.length - mean).reduce(
          (product: number, extent) => product * extent,
          1,
        );
        const targets = targetsOf(count);
        await checkGradients(device, {
          what: JSON.stringify({ ...options, shape, known }),
          inputs: { logits: { shape } },
          operation: ({ logits }) =>
            pixelLoss(logits, known ? tensor(device, targets, [...shape]) : undefined, {
              ...options,
              mean,
            }),
          reference: ({ logits }) =>
            means(logits.map((x, i) => pixel(x, known ? targets[i]! : 0, options)), length),
          tolerance: 2e-5,
        });
      }
    }
  }
});

deviceTest("targets between 0 and 1 are allowed", async (device) => {
  const targets = Float32Array.of(0, 0.25, 0.5, 1);
  await checkGradients(device, {
    inputs: { logits: { shape: [4] } },
    operation: ({ logits }) => pixelLoss(logits, tensor(device, targets), { form: "bce" }),
    reference: ({ logits }) => logits.map((x, i) => pixel(x, targets[i]!, { form: "bce" })),
    tolerance: 2e-5,
  });
});

deviceTest("large logits neither overflow nor lose the small losses", async (device) => {
  using _scope = device.scope();
  const values = [-200, -60, -40, -12, 12, 40, 60, 80];
  const logits = tensor(device, values), targets = tensor(device, values.map(() => 1));
  const bce = await pixelLoss(logits, targets, { form: "bce" }).readFloats();
  assertCloseTo(bce, values.map((x) => Math.max(-x, 0) + Math.log1p(Math.exp(-Math.abs(x)))), {
    atol: 0,
    rtol: 1e-5,
  });
  const focal = await pixelLoss(logits, targets, { form: "focal" }).readFloats();
  assertEquals(focal.every(Number.isFinite), true);
  const { gradients } = differentiate(
    device,
    [logits],
    () =>
      weightedSum(
        (["bce", "focal", "probabilityFocal"] as const).map((form) => ({
          value: pixelLoss(logits, targets, { form, mean: 1 }).reshape(1),
          weight: 1,
        })),
      ),
  );
  assertEquals((await gradients[0]!.readFloats()).every(Number.isFinite), true);
});

deviceTest("a logit that is not a number makes every loss NaN", async (device) => {
  using _scope = device.scope();
  const logits = tensor(device, [1, NaN, -2, 0.5], [1, 4]);
  const targets = tensor(device, [1, 0, 1, 0], [1, 4]);
  for (const form of ["bce", "focal", "probabilityFocal"] as const) {
    for (const known of [targets, undefined]) {
      const [loss] = await pixelLoss(logits, known, { form, mean: 1 }).readFloats();
      assertEquals(loss, NaN, form);
    }
  }
  assertEquals(
    [...await diceLoss(logits, targets, { form: "smooth", axes: 1 }).readFloats()],
    [NaN],
  );
  assertEquals([...await iouLoss(logits, targets, tensor(device, [0.5])).readFloats()], [NaN]);
});

deviceTest("Dice and its gradient equal their definition", async (device) => {
  for (const form of ["smooth", "clamped"] as const) {
    for (const [masks, ...pixels] of [[1, 1, 1], [2, 3, 5], [3, 7, 11], [1, 2, 3, 5]]) {
      const length = pixels.reduce((product, extent) => product * extent, 1);
      const targets = targetsOf(masks! * length);
      targets.fill(0, (masks! - 1) * length);
      await checkGradients(device, {
        what: `${form} ${masks} ${pixels}`,
        inputs: { logits: { shape: [masks!, ...pixels] } },
        operation: ({ logits }) =>
          diceLoss(logits, tensor(device, targets, [masks!, ...pixels]), {
            form,
            axes: pixels.length,
          }),
        reference: ({ logits }) =>
          Array.from({ length: masks! }, (_, mask) => {
            let both = 0, sum = 0;
            for (let i = mask * length; i < (mask + 1) * length; i++) {
              both += sigmoid(logits[i]!) * targets[i]!;
              sum += sigmoid(logits[i]!) + targets[i]!;
            }
            return form === "smooth"
              ? 1 - (2 * both + 1e-6) / (sum + 1e-6)
              : 1 - 2 * both / Math.max(sum, 1e-8);
          }),
        tolerance: 2e-5,
      });
    }
  }
});

deviceTest("the error of predicted IoUs reaches logits and predictions", async (device) => {
  for (const [masks, ...pixels] of [[1, 1], [2, 3, 5], [19, 7, 3]]) {
    const length = pixels.reduce((product, extent) => product * extent, 1);
    const targets = targetsOf(masks! * length);
    await checkGradients(device, {
      what: `${masks} ${pixels}`,
      inputs: { logits: { shape: [masks!, ...pixels] }, predicted: { shape: [masks!, 1] } },
      operation: ({ logits, predicted }) =>
        iouLoss(logits, tensor(device, targets, [masks!, ...pixels]), predicted),
      reference({ logits, predicted }) {
        let both = 0, sum = 0;
        logits.forEach((x, i) => {
          both += sigmoid(x) * targets[i]!;
          sum += sigmoid(x) + targets[i]!;
        });
        const iou = (both + 1e-7) / (sum - both + 1e-7);
        return [predicted.reduce((all, p) => all + (iou - p) ** 2, 0) / masks!];
      },
      tolerance: 2e-5,
    });
  }
});

deviceTest("every way to share rows gives the same mask losses", async (device) => {
  for (const { name, device: variant } of variants(device)) {
    for (const pixels of [13, 257, 70001]) {
      using _scope = variant.scope();
      const values = normals(2 * pixels, pixels), known = targetsOf(2 * pixels);
      const logits = tensor(variant, values, [2, pixels]);
      const targets = tensor(variant, known, [2, pixels]);
      const what = `${name} ${pixels}`;
      const options = { form: "focal", alpha: 0.8, mean: 1 } as const;
      const expected = means(
        Float64Array.from(values, (x, i) => pixel(x, known[i]!, options)),
        pixels,
      );
      assertCloseTo(await pixelLoss(logits, targets, options).readFloats(), expected, { what });
      const sums = [0, 0, 0];
      values.subarray(0, pixels).forEach((x, i) => {
        sums[0]! += sigmoid(x);
        sums[1]! += known[i]!;
        sums[2]! += sigmoid(x) * known[i]!;
      });
      const dice = await diceLoss(logits, targets, { form: "clamped", axes: 1 }).readFloats();
      assertCloseTo([dice[0]!], [1 - 2 * sums[2]! / (sums[0]! + sums[1]!)], { what });
    }
  }
});

deviceTest("VividMed's mask loss is the weighted sum of its terms", async (device) => {
  const shape = [2, 3, 5, 7], length = 35, targets = targetsOf(210);
  for (const known of [true, false]) {
    for (const gamma of [0, 2]) {
      await checkGradients(device, {
        what: `${known} ${gamma}`,
        inputs: { logits: { shape } },
        operation: ({ logits }) =>
          diceFocalLoss(logits, known ? tensor(device, targets, shape) : undefined, {
            dice: 2,
            focal: 3,
            gamma,
            alpha: 0.8,
            perSample: true,
          }).total,
        reference: ({ logits }) =>
          [0, 1].map((sample) => {
            let dice = 0, focal = 0;
            for (let channel = 0; channel < 3; channel++) {
              let both = 0, sum = 0;
              for (let n = 0; n < length; n++) {
                const i = (sample * 3 + channel) * length + n, t = known ? targets[i]! : 0;
                both += sigmoid(logits[i]!) * t;
                sum += sigmoid(logits[i]!) + t;
                focal += pixel(
                  logits[i]!,
                  t,
                  gamma === 0 ? { form: "bce" } : { form: "focal", gamma, alpha: 0.8 },
                ) / (3 * length);
              }
              dice += (1 - 2 * both / sum) / 3;
            }
            return 2 * dice + 3 * focal;
          }),
        tolerance: 2e-5,
      });
    }
  }
});

deviceTest("weighted sums leave out terms without weight", async (device) => {
  for (const terms of [1, 2, 7, 8, 17]) {
    const names = Array.from({ length: terms }, (_, n) => `t${n}`);
    await checkGradients(device, {
      what: `${terms} terms`,
      inputs: Object.fromEntries(names.map((name) => [name, { shape: [3] }])),
      operation: (inputs) =>
        weightedSum([
          { value: tensor(device, [NaN, NaN, NaN]), weight: 0 },
          ...names.map((name, n) => ({ value: inputs[name], weight: n === 1 ? 1 : 0.5 * n + 2 })),
        ]),
      reference: (inputs) =>
        [0, 1, 2].map((i) =>
          names.reduce(
            (sum, name, n) => sum + (n === 1 ? 1 : 0.5 * n + 2) * inputs[name]![i]!,
            0,
          )
        ),
    });
  }
});

deviceTest("shapes that do not fit are refused", (device) => {
  using _scope = device.scope();
  const logits = tensor(device, new Float32Array(6), [2, 3]);
  const turned = logits.reshape(3, 2);
  assertThrows(() => pixelLoss(logits, turned, { form: "bce" }), RangeError, "[3, 2]");
  assertThrows(() => pixelLoss(logits, logits, { form: "focal", gamma: -1 }), RangeError, "gamma");
  assertThrows(() => pixelLoss(logits, logits, { form: "focal", alpha: 2 }), RangeError, "alpha");
  assertThrows(() => pixelLoss(logits, logits, { form: "bce", mean: 3 }), RangeError, "3 axes");
  assertThrows(() => diceLoss(logits, turned, { form: "smooth" }), RangeError);
  assertThrows(() => iouLoss(logits, logits, tensor(device, [1, 2, 3])), RangeError, "[3]");
  assertThrows(() => weightedSum([]), RangeError, "no terms");
  const terms = [{ value: logits, weight: 1 }, { value: turned, weight: 1 }];
  assertThrows(() => weightedSum(terms), RangeError, "one shape");
  assertThrows(
    () => differentiate(device, [logits], () => pixelLoss(turned, logits, { form: "bce" })),
    RangeError,
  );
  assertThrows(
    () => differentiate(device, [logits], () => diceLoss(logits, logits, { form: "smooth" })),
    TypeError,
    "data",
  );
  return Promise.resolve();
});
