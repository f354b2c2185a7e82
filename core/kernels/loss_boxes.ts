/**
 * Losses of boxes against boxes, of matched pairs or of every prediction with every target: a weighted sum of the mean absolute
 * difference of their numbers and of their generalised IoU (see `boxes.ts`).
 *
 * Traffic: both boxes of a pair once, about 60 operations. Tiling: 64 invocations, one pair each; on the way back one prediction
 * each, which goes through its targets in order, so that sums repeat exactly.
 *
 * Source: VividMed `InstanceSamLoss.box_loss`; MONAI `box_pair_giou`; `torch.nn.functional.l1_loss`.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import {
  boxCorners,
  type BoxDims,
  centreSizeGradientOf,
  giouGradientOf,
  giouOf,
  giouWgsl,
} from "./boxes.ts";

/** What is baked into a program. */
export interface BoxLossVariant {
  readonly dims: BoxDims;
  /** Boxes are centre and size rather than corners. */
  readonly centred: boolean;
  /** Prediction n meets target n; otherwise all targets. */
  readonly matched: boolean;
}

const variantKey = ({ dims, centred, matched }: BoxLossVariant) =>
  `${dims}D${centred ? " centred" : ""}${matched ? " matched" : ""}`;

const parameters = { rows: "u32", targets: "u32", l1: "f32", giou: "f32", offset: "f32" } as const;

const read = (array: string, from: string, dims: BoxDims) =>
  `Box${dims}(${
    Array.from({ length: 2 * dims }, (_, i) => `${array}[${from} + ${i}u]`).join(", ")
  })`;

/** Head of the kernels: declares the number `i` of the invocation. */
const main = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;`;

/** Corners as the float32 kernels have them: of tiny boxes the sizes depend on how corners round. */
const cornersOf = (box: Float32Array, centred: boolean): Float32Array =>
  centred ? Float32Array.from(boxCorners(box)) : box;

/**
 * output[n, m] = offset + l1 * mean |a - b| + giou * GIoU(a, b) for the `rows` predictions a and, of each, the `targets` boxes b
 * (1 where matched). Dispatch ceil(rows * targets / 64).
 */
export function boxLossProgram(variant: BoxLossVariant): Program {
  const { dims, centred, matched } = variant, width = 2 * dims;
  return program(`box loss ${variantKey(variant)}`, () => ({
    arrays: {
      predicted: { type: "f32", access: "read" },
      wanted: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters,
    wgsl: /* wgsl */ `${giouWgsl(dims)}${main}
  if (i >= params.rows * params.targets) { return; }
  let first = i / params.targets * ${width}u;
  let second = ${matched ? "i" : "i % params.targets"} * ${width}u;
  let a = ${read("predicted", "first", dims)};
  let b = ${read("wanted", "second", dims)};
  let sum = ${Array.from({ length: width }, (_, n) => `abs(a[${n}] - b[${n}])`).join(" + ")};
  var value = params.offset + params.l1 * sum / ${width}.0;
  if (params.giou != 0.0) {
    value += params.giou * giou${dims}(${
      centred ? `corners${dims}(a), corners${dims}(b)` : "a, b"
    });
  }
  output[i] = value;
}`,
    host({ predicted, wanted, output }, { rows, targets, l1, giou, offset }) {
      for (let i = 0; i < rows * targets; i++) {
        const n = Math.floor(i / targets), m = matched ? n : i % targets;
        const a = predicted.subarray(n * width, (n + 1) * width);
        const b = wanted.subarray(m * width, (m + 1) * width);
        const sum = a.reduce((all, x, j) => all + Math.abs(x - b[j]!), 0);
        output[i] = offset + l1 * sum / width +
          (giou === 0 ? 0 : giou * giouOf(cornersOf(a, centred), cornersOf(b, centred)));
      }
    },
  }));
}

/**
 * Gradient of {@linkcode boxLossProgram} by the predictions: output[n] = sum over m of gradient[n, m] * d value / d a. The
 * derivative of |x| at 0 is 0. Dispatch ceil(rows / 64).
 */
export function boxLossGradientProgram(variant: BoxLossVariant): Program {
  const { dims, centred, matched } = variant, width = 2 * dims;
  return program(`box loss gradient ${variantKey(variant)}`, () => ({
    arrays: {
      predicted: { type: "f32", access: "read" },
      wanted: { type: "f32", access: "read" },
      gradient: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters,
    wgsl: /* wgsl */ `${giouWgsl(dims)}${main}
  if (i >= params.rows) { return; }
  let first = i * ${width}u;
  let a = ${read("predicted", "first", dims)};
  var sums: Box${dims};
  for (var m = 0u; m < params.targets; m++) {
    let second = ${matched ? "i" : "m"} * ${width}u;
    let b = ${read("wanted", "second", dims)};
    let factor = gradient[i * params.targets + m];
${
      Array.from(
        { length: width },
        (_, n) => `    sums[${n}] += factor * params.l1 / ${width}.0 * sign(a[${n}] - b[${n}]);`,
      ).join("\n")
    }
    if (params.giou != 0.0) {
      let slopes = ${
      centred
        ? `centreSizeGradient${dims}(giouGradient${dims}(corners${dims}(a), corners${dims}(b)))`
        : `giouGradient${dims}(a, b)`
    };
${
      Array.from(
        { length: width },
        (_, n) => `      sums[${n}] += factor * params.giou * slopes[${n}];`,
      ).join("\n")
    }
    }
  }
${Array.from({ length: width }, (_, n) => `  output[first + ${n}u] = sums[${n}];`).join("\n")}
}`,
    host({ predicted, wanted, gradient, output }, { rows, targets, l1, giou }) {
      for (let n = 0; n < rows; n++) {
        const a = predicted.subarray(n * width, (n + 1) * width), sums = new Float64Array(width);
        for (let j = 0; j < targets; j++) {
          const m = matched ? n : j, b = wanted.subarray(m * width, (m + 1) * width);
          const factor = gradient[n * targets + j]!;
          const byCorners = giou === 0
            ? new Float64Array(width)
            : giouGradientOf(cornersOf(a, centred), cornersOf(b, centred));
          const slopes = centred ? centreSizeGradientOf(byCorners) : byCorners;
          for (let c = 0; c < width; c++) {
            sums[c]! += factor * (l1 / width * Math.sign(a[c]! - b[c]!) + giou * slopes[c]!);
          }
        }
        output.set(sums, n * width);
      }
    },
  }));
}
